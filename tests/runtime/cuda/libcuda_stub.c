/* A CUDA driver library in host memory, for the genuine Python packages: work is done when it is queued, and in a
   capture it is kept for the launches of the graph. Counts what lives, and prints nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef void *Handle;
enum { SUCCESS = 0, INVALID = 1, NO_MEMORY = 2, NO_CONTEXT = 201, NOT_FOUND = 500, CAPTURED = 900 };

typedef struct { void *to; const void *from; size_t bytes; int value; } Operation;
typedef struct { Operation operations[256]; int count; } Graph;
typedef struct { Graph *capture; } Stream;
typedef struct { float at; int happened; } Event;

static __thread int contexts;
static float now;
static long alive[6]; /* streams, events, device, pinned, graphs, retained */
static size_t limit = 1 << 30;

#define NEEDS_CONTEXT if (!contexts) return NO_CONTEXT

long stub_alive(int kind) { return alive[kind]; }
void stub_limit(size_t bytes) { limit = bytes; }

static Result queue(Stream *stream, void *to, const void *from, size_t bytes, int value) {
    NEEDS_CONTEXT;
    Operation operation = {to, from, bytes, value};
    if (stream->capture) {
        if (stream->capture->count == 256) return INVALID;
        stream->capture->operations[stream->capture->count++] = operation;
        return SUCCESS;
    }
    now += 1;
    if (from) memcpy(to, from, bytes); else memset(to, value, bytes);
    return SUCCESS;
}

Result cuInit(unsigned flags) { return SUCCESS; }
Result cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
Result cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
Result cuDeviceGet(int *device, int index) { *device = index; return index ? INVALID : SUCCESS; }
Result cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Stub GPU", length); return SUCCESS; }
Result cuDeviceGetAttribute(int *value, int kind, int device) { *value = kind == 75 ? 8 : 7; return SUCCESS; }
Result cuDevicePrimaryCtxRetain(Handle *context, int device) { *context = &contexts; alive[5]++; return SUCCESS; }
Result cuDevicePrimaryCtxRelease(int device) { alive[5]--; return SUCCESS; }
Result cuCtxPushCurrent(Handle context) { contexts++; return SUCCESS; }
Result cuCtxPopCurrent(Handle *context) { NEEDS_CONTEXT; contexts--; *context = &contexts; return SUCCESS; }
Result cuMemGetInfo(size_t *free_bytes, size_t *total) { NEEDS_CONTEXT; *free_bytes = *total = limit; return SUCCESS; }
Result cuGetErrorString(int error, const char **text) {
    *text = error == NO_MEMORY ? "out of memory" : error == NO_CONTEXT ? "invalid device context" : "failure";
    return SUCCESS;
}

Result cuMemAlloc(uint64_t *address, size_t bytes) {
    NEEDS_CONTEXT;
    if (bytes > limit) return NO_MEMORY;
    *address = (uint64_t)malloc(bytes); alive[2]++;
    return SUCCESS;
}
Result cuMemFree(uint64_t address) { NEEDS_CONTEXT; free((void *)address); alive[2]--; return SUCCESS; }
Result cuMemHostAlloc(void **address, size_t bytes, unsigned flags) {
    NEEDS_CONTEXT; *address = malloc(bytes); alive[3]++; return SUCCESS;
}
Result cuMemFreeHost(void *address) { NEEDS_CONTEXT; free(address); alive[3]--; return SUCCESS; }
Result cuMemcpyHtoDAsync(uint64_t to, const void *from, size_t bytes, Stream *stream) {
    return queue(stream, (void *)to, from, bytes, 0);
}
Result cuMemcpyDtoHAsync(void *to, uint64_t from, size_t bytes, Stream *stream) {
    return queue(stream, to, (void *)from, bytes, 0);
}
Result cuMemcpyDtoDAsync(uint64_t to, uint64_t from, size_t bytes, Stream *stream) {
    return queue(stream, (void *)to, (void *)from, bytes, 0);
}
Result cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, Stream *stream) {
    return queue(stream, (void *)to, NULL, bytes, value);
}

Result cuStreamCreate(Stream **stream, unsigned flags) {
    NEEDS_CONTEXT; *stream = calloc(1, sizeof(Stream)); alive[0]++; return SUCCESS;
}
Result cuStreamSynchronize(Stream *stream) { NEEDS_CONTEXT; return stream->capture ? CAPTURED : SUCCESS; }
Result cuStreamWaitEvent(Stream *stream, Event *event, unsigned flags) { NEEDS_CONTEXT; return SUCCESS; }
Result cuStreamDestroy(Stream *stream) { NEEDS_CONTEXT; free(stream); alive[0]--; return SUCCESS; }
Result cuEventCreate(Event **event, unsigned flags) {
    NEEDS_CONTEXT; *event = calloc(1, sizeof(Event)); alive[1]++; return SUCCESS;
}
Result cuEventRecord(Event *event, Stream *stream) { NEEDS_CONTEXT; event->at = now; event->happened = 1; return SUCCESS; }
Result cuEventSynchronize(Event *event) { NEEDS_CONTEXT; return SUCCESS; }
Result cuEventElapsedTime(float *ms, Event *start, Event *end) {
    if (!start->happened || !end->happened) return INVALID;
    *ms = end->at - start->at;
    return SUCCESS;
}
Result cuEventDestroy(Event *event) { NEEDS_CONTEXT; free(event); alive[1]--; return SUCCESS; }

Result cuStreamBeginCapture(Stream *stream, int mode) {
    NEEDS_CONTEXT;
    if (stream->capture) return CAPTURED;
    stream->capture = calloc(1, sizeof(Graph)); alive[4]++;
    return SUCCESS;
}
Result cuStreamEndCapture(Stream *stream, Graph **graph) {
    if (!stream->capture) return INVALID;
    *graph = stream->capture; stream->capture = NULL;
    return SUCCESS;
}
Result cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, unsigned long long flags) {
    *executable = malloc(sizeof(Graph)); **executable = *graph; alive[4]++;
    return SUCCESS;
}
Result cuGraphLaunch(Graph *graph, Stream *stream) {
    for (int i = 0; i < graph->count; i++) {
        Operation *done = &graph->operations[i];
        Result result = queue(stream, done->to, done->from, done->bytes, done->value);
        if (result) return result;
    }
    return SUCCESS;
}
Result cuGraphDestroy(Graph *graph) { free(graph); alive[4]--; return SUCCESS; }
Result cuGraphExecDestroy(Graph *graph) { free(graph); alive[4]--; return SUCCESS; }

/* The genuine packages ask for every call of CUDA by this one; what is not here is not found. */
Result cuGetProcAddress_v2(const char *name, void **address, int version, uint64_t flags, int *status) {
    *address = strcmp(name, "cuGraphInstantiate") ? dlsym(RTLD_DEFAULT, name) : (void *)cuGraphInstantiateWithFlags;
    if (!*address) {
        Dl_info own;
        dladdr((void *)cuInit, &own);
        void *library = dlopen(own.dli_fname, RTLD_NOW | RTLD_NOLOAD);
        *address = library ? dlsym(library, name) : NULL;
    }
    if (status) *status = *address ? 0 : 1;
    return SUCCESS;
}
Result cuGetProcAddress(const char *name, void **address, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, address, version, flags, NULL);
}
