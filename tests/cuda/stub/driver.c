/* A libcuda that lives in host memory, for tests without a GPU.

   It answers the calls of real packages as a driver would, as far as that can be known: it reads a
   kernel's needs from its cubin, and refuses launches, attributes and frees that a GPU would
   refuse. Kernels do not run: memory keeps what was copied there, or 0xff in each byte.

   STUB_LOG      a file to which each call that tests look at is appended, one per line
   STUB_DEVICES  e.g. "90,80": compute capabilities of the devices; by default 90, "" for none

   stub_fail(name, code, after, times): `times` calls of `name` fail with `code`, after others.
   stub_held(): number of allocations that were not freed. */

#include <elf.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef uint64_t Address;
typedef void *Handle;

enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101,
       INVALID_CONTEXT = 201, NO_BINARY = 209, NOT_FOUND = 500, OUT_OF_RESOURCES = 701,
       TOO_LARGE = 720 };
enum { PLACES = 1 << 16, DEVICES = 4, DEPTH = 64, UNASKED = 49152, REGISTERS = 65536 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- Log and injected failures */

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void tell(const char *format, ...) {
    const char *name = getenv("STUB_LOG");
    if (name == NULL) return;
    pthread_mutex_lock(&lock);
    FILE *file = fopen(name, "a");
    if (file != NULL) {
        va_list values;
        va_start(values, format);
        vfprintf(file, format, values);
        va_end(values);
        fputc('\n', file);
        fclose(file);
    }
    pthread_mutex_unlock(&lock);
}

static struct { char name[64]; int code, after, times; } failing;

void stub_fail(const char *name, int code, int after, int times) {
    snprintf(failing.name, sizeof failing.name, "%s", name);
    failing.code = code;
    failing.after = after;
    failing.times = times;
}

static int fails(const char *name) {
    if (strcmp(name, failing.name) != 0 || failing.after-- > 0) return 0;
    if (--failing.times <= 0) failing.name[0] = 0;
    tell("%s fails: %d", name, failing.code);
    return failing.code;
}

#define MAY_FAIL do { int code = fails(__func__); if (code) return code; } while (0)

/* ---- Devices and contexts */

static struct { int capability, context; } devices[DEVICES];
static int device_count = -1;
static __thread int stack[DEPTH], depth; /* devices of a thread's contexts */

static int count_devices(void) {
    if (device_count >= 0) return device_count;
    const char *given = getenv("STUB_DEVICES");
    char text[64];
    snprintf(text, sizeof text, "%s", given != NULL ? given : "90");
    device_count = 0;
    for (char *one = strtok(text, ","); one != NULL && device_count < DEVICES;
         one = strtok(NULL, ","))
        devices[device_count++].capability = atoi(one);
    return device_count;
}

static int device_of(Handle context) {
    for (int i = 0; i < device_count; i++)
        if (context == &devices[i].context) return i;
    return -1;
}

Result cuInit(unsigned flags) {
    MAY_FAIL;
    return count_devices() ? 0 : NO_DEVICE;
}
Result cuDriverGetVersion(int *version) { *version = 13000; return 0; }
Result cuDeviceGetCount(int *count) { *count = count_devices(); return 0; }
Result cuDeviceGet(int *device, int number) {
    *device = number;
    return number < count_devices() ? 0 : INVALID_DEVICE;
}
Result cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, size, "Stub sm_%d", devices[device].capability);
    return 0;
}
Result cuDeviceGetUuid(char *uuid, int device) { memset(uuid, 7 + device, 16); return 0; }
Result cuDeviceTotalMem(size_t *bytes, int device) { *bytes = (size_t)80 << 30; return 0; }

static int shared_of(int device) { return devices[device].capability < 90 ? 166912 : 232448; }
static int multiprocessors_of(int device) { return devices[device].capability < 90 ? 108 : 132; }

Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    MAY_FAIL;
    switch (attribute) {
    case 1: case 2: case 3: *value = 1024; break;    /* threads of a block, and along x, y */
    case 4: *value = 64; break;                      /* threads along z */
    case 5: *value = 2147483647; break;              /* blocks along x, and y, z */
    case 6: case 7: *value = 65535; break;
    case 8: *value = UNASKED; break;                 /* shared memory */
    case 9: case 12: case 82: *value = REGISTERS; break;
    case 10: *value = 32; break;                     /* threads of a warp */
    case 16: *value = multiprocessors_of(device); break;
    case 39: *value = 2048; break;                   /* threads of a multiprocessor */
    case 75: *value = devices[device].capability / 10; break;
    case 76: *value = devices[device].capability % 10; break;
    case 81: *value = shared_of(device) + 1024; break;
    case 97: *value = shared_of(device); break;
    default: *value = 1;                             /* the device supports everything else */
    }
    return 0;
}

Result cuDevicePrimaryCtxRetain(Handle *context, int device) {
    MAY_FAIL;
    *context = &devices[device].context;
    return 0;
}
Result cuDevicePrimaryCtxRelease(int device) { return 0; }
Result cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    *flags = 0;
    *active = 1;
    return 0;
}
Result cuDevicePrimaryCtxSetFlags(int device, unsigned flags) { return 0; }
Result cuDevicePrimaryCtxReset(int device) { return 0; }

Result cuCtxGetCurrent(Handle *context) {
    *context = depth ? &devices[stack[depth - 1]].context : NULL;
    return 0;
}
Result cuCtxPushCurrent(Handle context) {
    if (depth == DEPTH) return INVALID_CONTEXT;
    stack[depth++] = device_of(context);
    return 0;
}
Result cuCtxPopCurrent(Handle *context) {
    if (!depth) return INVALID_CONTEXT;
    depth--;
    if (context != NULL) *context = &devices[stack[depth]].context;
    return 0;
}
Result cuCtxSetCurrent(Handle context) {
    if (depth) depth--;
    return context == NULL ? 0 : cuCtxPushCurrent(context);
}
Result cuCtxGetDevice(int *device) {
    if (!depth) return INVALID_CONTEXT;
    *device = stack[depth - 1];
    return 0;
}
Result cuCtxGetApiVersion(Handle context, unsigned *version) { *version = 3020; return 0; }
Result cuCtxGetStreamPriorityRange(int *least, int *most) { *least = 0; *most = -5; return 0; }
Result cuCtxSynchronize(void) { MAY_FAIL; tell("cuCtxSynchronize"); return 0; }

/* ---- Memory: allocations and their owners */

static struct { Address start; size_t size; int device; Handle stream; } held[PLACES];

int stub_held(void) {
    int count = 0;
    for (int i = 0; i < PLACES; i++) count += held[i].start != 0;
    return count;
}

static int place_of(Address address) {
    for (int i = 0; i < PLACES; i++)
        if (held[i].start && address >= held[i].start && address < held[i].start + held[i].size)
            return i;
    return -1;
}

static Address take(size_t size, Handle stream) {
    size_t whole = (size + 511) & ~(size_t)511;
    void *memory = aligned_alloc(512, whole ? whole : 512);
    memset(memory, 0xff, whole);
    pthread_mutex_lock(&lock);
    int i = 0;
    while (held[i].start) i++;
    held[i].start = (Address)memory;
    held[i].size = whole;
    held[i].device = depth ? stack[depth - 1] : 0;
    held[i].stream = stream;
    pthread_mutex_unlock(&lock);
    return (Address)memory;
}

static Result give(Address address, Handle stream) {
    pthread_mutex_lock(&lock);
    int i = place_of(address);
    int known = i >= 0 && held[i].start == address && held[i].stream == stream;
    if (known) held[i].start = 0;
    pthread_mutex_unlock(&lock);
    if (!known) {
        tell("BAD FREE of %p on stream %p", (void *)address, stream);
        return INVALID_VALUE;
    }
    free((void *)address);
    return 0;
}

Result cuMemAlloc(Address *address, size_t size) {
    MAY_FAIL;
    *address = take(size, NULL);
    tell("cuMemAlloc %zu", size);
    return 0;
}
Result cuMemFree(Address address) { return give(address, NULL); }
Result cuMemGetInfo(size_t *left, size_t *whole) {
    *left = (size_t)70 << 30;
    *whole = (size_t)80 << 30;
    return 0;
}
Result cuMemHostAlloc(Handle *address, size_t size, unsigned flags) {
    MAY_FAIL;
    *address = (Handle)take(size, NULL);
    tell("cuMemHostAlloc %zu flags %u", size, flags);
    return 0;
}
Result cuMemFreeHost(Handle address) { return give((Address)address, NULL); }
Result cuMemPoolCreate(Handle *pool, const int *properties) {
    MAY_FAIL;
    *pool = (Handle)(uintptr_t)(0x9000 + properties[3]);
    tell("cuMemPoolCreate type %d location %d device %d", properties[0], properties[2],
         properties[3]);
    return 0;
}
Result cuMemPoolSetAttribute(Handle pool, int attribute, void *value) {
    MAY_FAIL;
    tell("cuMemPoolSetAttribute %p %d %llx", pool, attribute, *(unsigned long long *)value);
    return 0;
}
Result cuMemPoolDestroy(Handle pool) { return 0; }
Result cuMemAllocFromPoolAsync(Address *address, size_t size, Handle pool, Handle stream) {
    MAY_FAIL;
    *address = take(size, stream);
    tell("cuMemAllocFromPoolAsync %zu pool %p stream %p", size, pool, stream);
    return 0;
}
Result cuMemFreeAsync(Address address, Handle stream) {
    tell("cuMemFreeAsync stream %p", stream);
    return give(address, stream);
}
Result cuMemGetAddressRange(Address *start, size_t *size, Address address) {
    int i = place_of(address);
    if (i < 0) return INVALID_VALUE;
    *start = held[i].start;
    *size = held[i].size;
    return 0;
}
Result cuPointerGetAttribute(void *data, int attribute, Address address) {
    int i = place_of(address);
    if (i < 0) return INVALID_VALUE;
    switch (attribute) {
    case 1: *(Handle *)data = &devices[held[i].device].context; return 0;
    case 2: *(int *)data = 2; return 0; /* memory of a device */
    case 3: *(Address *)data = address; return 0;
    case 9: *(int *)data = held[i].device; return 0;
    default: return INVALID_VALUE;
    }
}
Result cuMemcpyHtoD(Address to, const void *from, size_t size) {
    MAY_FAIL;
    memcpy((void *)to, from, size);
    return 0;
}
Result cuMemcpyHtoDAsync(Address to, const void *from, size_t size, Handle stream) {
    MAY_FAIL;
    memcpy((void *)to, from, size);
    return 0;
}
Result cuMemcpyDtoH(void *to, Address from, size_t size) {
    MAY_FAIL;
    memcpy(to, (void *)from, size);
    return 0;
}
Result cuMemcpyDtoHAsync(void *to, Address from, size_t size, Handle stream) {
    MAY_FAIL;
    memcpy(to, (void *)from, size);
    return 0;
}
Result cuMemsetD8(Address to, unsigned char value, size_t size) {
    memset((void *)to, value, size);
    return 0;
}
Result cuMemsetD8Async(Address to, unsigned char value, size_t size, Handle stream) {
    return cuMemsetD8(to, value, size);
}

/* ---- Kernels: what their cubins say */

typedef struct {
    char name[512];
    int registers, fixed; /* of a thread; bytes of shared memory of a block */
    int allowed[DEVICES]; /* dynamic shared memory that was requested */
    int count, sizes[64];  /* bytes of each argument */
} Kernel;

static Kernel kernels[PLACES];
static int kernel_count;

static int architecture_of(const unsigned char *image) {
    return ((const Elf64_Ehdr *)image)->e_flags >> 8 & 0xff;
}

Result cuLibraryLoadData(Handle *library, const void *code, void *options, void *values,
                         unsigned count, void *more, void *given, unsigned many) {
    MAY_FAIL;
    const unsigned char *image = code;
    if (memcmp(image, "\177ELF", 4) != 0) return NO_BINARY;
    int architecture = architecture_of(image);
    tell("cuLibraryLoadData sm_%d flags %08x", architecture,
         ((const Elf64_Ehdr *)image)->e_flags);
    if (depth && architecture != devices[stack[depth - 1]].capability) return NO_BINARY;
    *library = (Handle)code;
    return 0;
}
Result cuLibraryUnload(Handle library) { return 0; }

/* The section .nv.info of a kernel: a format, an attribute, a size, and so many bytes. */
static void read_arguments(Kernel *kernel, const unsigned char *at, const unsigned char *end) {
    while (at + 4 <= end) {
        int is_sized = at[0] == 4, size = at[2] | at[3] << 8;
        if (is_sized && at[1] == 0x17) { /* an argument */
            uint16_t number;
            uint32_t packed;
            memcpy(&number, at + 8, 2);
            memcpy(&packed, at + 12, 4);
            if (number < 64) kernel->sizes[number] = packed >> 18;
            if (number >= kernel->count && number < 64) kernel->count = number + 1;
        }
        at += is_sized ? 4 + size : 4;
    }
}

Result cuLibraryGetKernel(Handle *kernel, Handle library, const char *name) {
    MAY_FAIL;
    const unsigned char *image = library;
    const Elf64_Ehdr *file = library;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(image + file->e_shoff);
    const char *names = (const char *)image + sections[file->e_shstrndx].sh_offset;
    int reserved = architecture_of(image) < 90 ? 0 : 1024; /* reserved by CUDA, and counted */
    Kernel found = {.registers = -1};
    snprintf(found.name, sizeof found.name, "%s", name);
    for (int i = 0; i < file->e_shnum; i++) {
        const char *section = names + sections[i].sh_name;
        if (!strncmp(section, ".text.", 6) && !strcmp(section + 6, name))
            found.registers = sections[i].sh_info >> 24;
        if (!strncmp(section, ".nv.shared.", 11) && !strcmp(section + 11, name))
            found.fixed = (int)sections[i].sh_size - reserved;
        if (!strncmp(section, ".nv.info.", 9) && !strcmp(section + 9, name)) {
            const unsigned char *start = image + sections[i].sh_offset;
            read_arguments(&found, start, start + sections[i].sh_size);
        }
    }
    if (found.registers < 0) return NOT_FOUND;
    pthread_mutex_lock(&lock);
    kernels[kernel_count] = found;
    *kernel = &kernels[kernel_count++];
    pthread_mutex_unlock(&lock);
    return 0;
}
Result cuKernelGetFunction(Handle *function, Handle kernel) { *function = kernel; return 0; }
Result cuKernelGetLibrary(Handle *library, Handle kernel) { *library = NULL; return 0; }

Result cuFuncGetAttribute(int *value, int attribute, Handle function) {
    const Kernel *kernel = function;
    *value = attribute == 0 ? 1024 : attribute == 1 ? kernel->fixed
           : attribute == 4 ? kernel->registers : 0;
    return 0;
}
Result cuKernelGetAttribute(int *value, int attribute, Handle kernel, int device) {
    return cuFuncGetAttribute(value, attribute, kernel);
}
Result cuKernelSetAttribute(int attribute, int value, Handle handle, int device) {
    MAY_FAIL;
    Kernel *kernel = handle;
    tell("cuKernelSetAttribute %d %d device %d %s", attribute, value, device, kernel->name);
    if (attribute == 8 && value + kernel->fixed > shared_of(device)) return INVALID_VALUE;
    if (attribute == 8) kernel->allowed[device] = value;
    return 0;
}

static int blocks_at_once(const Kernel *kernel, int threads, size_t shared, int device) {
    int registers = (kernel->registers + 7) / 8 * 8 * ((threads + 31) / 32 * 32);
    size_t bytes = shared + kernel->fixed + 1024;
    int blocks = 2048 / threads;
    if (registers && REGISTERS / registers < blocks) blocks = REGISTERS / registers;
    if ((shared_of(device) + 1024) / bytes < (size_t)blocks)
        blocks = (int)((shared_of(device) + 1024) / bytes);
    return blocks;
}

Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Handle kernel, int threads,
                                                   size_t shared) {
    MAY_FAIL;
    *blocks = blocks_at_once(kernel, threads, shared, stack[depth - 1]);
    return 0;
}
Result cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, Handle kernel,
                                                            int threads, size_t shared,
                                                            unsigned flags) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, kernel, threads, shared);
}

typedef struct {
    unsigned grid[3], block[3], shared;
    Handle stream;
    const char *attributes;
    unsigned count;
} Launch;

Result cuLaunchKernelEx(const Launch *launch, Handle handle, void **values, void **extra) {
    MAY_FAIL;
    const Kernel *kernel = handle;
    if (!depth) return INVALID_CONTEXT;
    int device = stack[depth - 1], cooperative = 0;
    for (unsigned i = 0; i < launch->count; i++) {
        const int *attribute = (const int *)(launch->attributes + 72 * i);
        if (attribute[0] == 2) cooperative = attribute[2];
    }
    unsigned threads = launch->block[0] * launch->block[1] * launch->block[2];
    unsigned blocks = launch->grid[0] * launch->grid[1] * launch->grid[2];
    tell("launch %s grid %u %u %u block %u %u %u shared %u stream %p cooperative %d device %d",
         kernel->name, launch->grid[0], launch->grid[1], launch->grid[2], launch->block[0],
         launch->block[1], launch->block[2], launch->shared, launch->stream, cooperative, device);
    char text[2048] = "arguments";
    for (int i = 0; i < kernel->count; i++) {
        uint64_t value = 0;
        memcpy(&value, values[i], kernel->sizes[i] < 8 ? kernel->sizes[i] : 8);
        snprintf(text + strlen(text), sizeof text - strlen(text), " %d:%llx", kernel->sizes[i],
                 (unsigned long long)value);
    }
    tell("%s", text);
    if (!threads || !blocks || threads > 1024) return INVALID_VALUE;
    int allowed = UNASKED - kernel->fixed;
    if (kernel->allowed[device] > allowed) allowed = kernel->allowed[device];
    if ((int)launch->shared > allowed) return INVALID_VALUE;
    int at_once = blocks_at_once(kernel, threads, launch->shared, device);
    if (!at_once) return OUT_OF_RESOURCES;
    if (cooperative && blocks > (unsigned)(at_once * multiprocessors_of(device))) return TOO_LARGE;
    return 0;
}

/* ---- Streams, events, messages */

Result cuStreamSynchronize(Handle stream) {
    MAY_FAIL;
    tell("cuStreamSynchronize %p", stream);
    return 0;
}
Result cuStreamGetCtx(Handle stream, Handle *context) { return cuCtxGetCurrent(context); }
Result cuStreamCreate(Handle *stream, unsigned flags) { *stream = (Handle)0x77; return 0; }
Result cuStreamCreateWithPriority(Handle *stream, unsigned flags, int priority) {
    *stream = (Handle)0x78;
    return 0;
}
Result cuStreamGetFlags(Handle stream, unsigned *flags) { *flags = 0; return 0; }
Result cuStreamDestroy(Handle stream) { tell("cuStreamDestroy %p", stream); return 0; }
Result cuEventCreate(Handle *event, unsigned flags) { *event = (Handle)0x99; return 0; }
Result cuEventRecord(Handle event, Handle stream) { return 0; }
Result cuEventSynchronize(Handle event) { return 0; }
Result cuEventElapsedTime(float *time, Handle a, Handle b) { *time = 0.02f; return 0; }
Result cuEventDestroy(Handle event) { return 0; }
Result cuGetErrorName(int code, const char **text) {
    *text = code == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_THE_STUB";
    return 0;
}
Result cuGetErrorString(int code, const char **text) {
    *text = "the stub driver was told to fail, or a GPU would";
    return 0;
}

/* ---- How the bindings find these functions */

Result cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                           int *status);
Result cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}

#define KNOWN(name) {#name, (void *)name}
static const struct { const char *name; void *function; } known[] = {
    {"cuGetProcAddress", (void *)cuGetProcAddress_v2},
    KNOWN(cuInit), KNOWN(cuDriverGetVersion), KNOWN(cuDeviceGetCount), KNOWN(cuDeviceGet),
    KNOWN(cuDeviceGetName), KNOWN(cuDeviceGetUuid), KNOWN(cuDeviceTotalMem),
    KNOWN(cuDeviceGetAttribute), KNOWN(cuDevicePrimaryCtxRetain), KNOWN(cuDevicePrimaryCtxRelease),
    KNOWN(cuDevicePrimaryCtxGetState), KNOWN(cuDevicePrimaryCtxSetFlags),
    KNOWN(cuDevicePrimaryCtxReset), KNOWN(cuCtxGetCurrent), KNOWN(cuCtxPushCurrent),
    KNOWN(cuCtxPopCurrent), KNOWN(cuCtxSetCurrent), KNOWN(cuCtxGetDevice),
    KNOWN(cuCtxGetApiVersion), KNOWN(cuCtxGetStreamPriorityRange), KNOWN(cuCtxSynchronize),
    KNOWN(cuMemAlloc), KNOWN(cuMemFree), KNOWN(cuMemGetInfo), KNOWN(cuMemHostAlloc),
    KNOWN(cuMemFreeHost), KNOWN(cuMemPoolCreate), KNOWN(cuMemPoolSetAttribute),
    KNOWN(cuMemPoolDestroy), KNOWN(cuMemAllocFromPoolAsync), KNOWN(cuMemFreeAsync),
    KNOWN(cuMemGetAddressRange), KNOWN(cuPointerGetAttribute), KNOWN(cuMemcpyHtoD),
    KNOWN(cuMemcpyHtoDAsync), KNOWN(cuMemcpyDtoH), KNOWN(cuMemcpyDtoHAsync), KNOWN(cuMemsetD8),
    KNOWN(cuMemsetD8Async), KNOWN(cuLibraryLoadData), KNOWN(cuLibraryUnload),
    KNOWN(cuLibraryGetKernel), KNOWN(cuKernelGetFunction), KNOWN(cuKernelGetLibrary),
    KNOWN(cuFuncGetAttribute), KNOWN(cuKernelGetAttribute), KNOWN(cuKernelSetAttribute),
    KNOWN(cuOccupancyMaxActiveBlocksPerMultiprocessor),
    KNOWN(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags), KNOWN(cuLaunchKernelEx),
    KNOWN(cuStreamSynchronize), KNOWN(cuStreamGetCtx), KNOWN(cuStreamCreate),
    KNOWN(cuStreamCreateWithPriority), KNOWN(cuStreamGetFlags), KNOWN(cuStreamDestroy),
    KNOWN(cuEventCreate), KNOWN(cuEventRecord), KNOWN(cuEventSynchronize),
    KNOWN(cuEventElapsedTime), KNOWN(cuEventDestroy), KNOWN(cuGetErrorName),
    KNOWN(cuGetErrorString),
};

Result cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                           int *status) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) {
            *function = known[i].function;
            if (status != NULL) *status = 0;
            return 0;
        }
    *function = NULL; /* the bindings then name the missing function */
    if (status != NULL) *status = 1;
    return 0;
}
