/* Shifts the clock and slows the disk of the server it is loaded into, as a file says that its tester writes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The file, word by word, in the byte order of this machine. */
struct told {
    volatile int64_t ahead_ms; /* how far CLOCK_REALTIME is ahead */
    volatile int64_t sync_ms;  /* how much longer a sync takes */
    volatile int64_t read_ms;  /* how much longer a read takes */
    volatile int64_t loaded;   /* 1 once a server has loaded this */
};

static struct told nothing;
static struct told *told = &nothing;
static int (*clock_of_system)(clockid_t, struct timespec *);

__attribute__((constructor)) static void load(void) {
    clock_of_system = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("TESTNET_TAMPER");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page == MAP_FAILED)
        return;
    told = page;
    /* `ip` and `timeout` load this as well on their way to the server. */
    if (strcmp(program_invocation_short_name, "warren") == 0)
        told->loaded = 1;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = clock_of_system ? clock_of_system(clock, time) : (int)syscall(SYS_clock_gettime, clock, time);
    int64_t ahead_ms = told->ahead_ms;
    if (result == 0 && ahead_ms != 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = time->tv_nsec + ahead_ms % 1000 * 1000000;
        time->tv_sec += ahead_ms / 1000 + (ns >= 1000000000) - (ns < 0);
        time->tv_nsec = ns + (ns < 0 ? 1000000000 : 0) - (ns >= 1000000000 ? 1000000000 : 0);
    }
    return result;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where)
        *where = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

static void wait_ms(int64_t ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (ms > 0 && nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

int fdatasync(int file) {
    wait_ms(told->sync_ms);
    return (int)syscall(SYS_fdatasync, file);
}

int fsync(int file) {
    wait_ms(told->sync_ms);
    return (int)syscall(SYS_fsync, file);
}

ssize_t pread64(int file, void *bytes, size_t length, off_t offset) {
    wait_ms(told->read_ms);
    return syscall(SYS_pread64, file, bytes, length, offset);
}
