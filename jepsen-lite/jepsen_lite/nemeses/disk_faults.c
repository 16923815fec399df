/* Stands between a program and its files: slow, hanging, failing and full disks, and a record of what
 * a power failure would undo.
 *
 * JL_DISK_FOLDER   files below it are meant, all others are left alone
 * JL_DISK_CONTROL  a file with one word and a number: "none 0", "slow MS", "hang 0", "full 0",
 *                  "error 1" (the next sync fails, then the library writes "none 0" itself)
 * JL_DISK_UNDO     a folder: for each written file a log of what its unsynced writes replaced
 *
 * An undo log is the file's path and a newline, then for each write three 64-bit numbers (offset,
 * length of the old bytes, size of the file before) and the old bytes. A sync that succeeds empties
 * it. Descriptors opened with O_DSYNC or O_SYNC are durable at once and leave no record.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

typedef ssize_t (*pwrite_f)(int, const void *, size_t, off_t);
typedef ssize_t (*pwritev_f)(int, const struct iovec *, int, off_t);
typedef ssize_t (*write_f)(int, const void *, size_t);
typedef ssize_t (*writev_f)(int, const struct iovec *, int);
typedef int (*sync_f)(int);
typedef int (*truncate_f)(int, off_t);

static pwrite_f next_pwrite;
static pwritev_f next_pwritev;
static write_f next_write;
static writev_f next_writev;
static sync_f next_fsync, next_fdatasync;
static truncate_f next_ftruncate;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void find_next(void) {
    next_pwrite = (pwrite_f)dlsym(RTLD_NEXT, "pwrite");
    next_pwritev = (pwritev_f)dlsym(RTLD_NEXT, "pwritev");
    next_write = (write_f)dlsym(RTLD_NEXT, "write");
    next_writev = (writev_f)dlsym(RTLD_NEXT, "writev");
    next_fsync = (sync_f)dlsym(RTLD_NEXT, "fsync");
    next_fdatasync = (sync_f)dlsym(RTLD_NEXT, "fdatasync");
    next_ftruncate = (truncate_f)dlsym(RTLD_NEXT, "ftruncate");
}

/* Whether the descriptor is a regular file below the folder; its path if so. */
static int ours(int fd, char path[PATH_MAX], struct stat *about) {
    const char *folder = getenv("JL_DISK_FOLDER");
    if (!folder || fstat(fd, about) || !S_ISREG(about->st_mode)) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return strncmp(path, folder, strlen(folder)) == 0;
}

static void order(char word[16], long *number) {
    const char *control = getenv("JL_DISK_CONTROL");
    strcpy(word, "none");
    *number = 0;
    int fd = control ? open(control, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    char text[64];
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0) return;
    text[size] = 0;
    sscanf(text, "%15s %ld", word, number);
}

static int full(void) {
    char word[16];
    long number;
    order(word, &number);
    return strcmp(word, "full") == 0;
}

static int undo_log(const struct stat *about, int flags) {
    const char *folder = getenv("JL_DISK_UNDO");
    if (!folder) return -1;
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s/%lu", folder, (unsigned long)about->st_ino);
    return open(name, flags | O_CLOEXEC, 0600);
}

/* Keep what a write of so many bytes at an offset is about to replace. */
static void remember(int fd, const char *path, const struct stat *about, off_t offset, size_t size) {
    if (fcntl(fd, F_GETFL) & (O_DSYNC | O_SYNC)) return;
    int64_t held = 0;
    if (offset < about->st_size) {
        held = about->st_size - offset;
        if (held > (int64_t)size) held = size;
    }
    char *old = malloc(held ? held : 1);
    if (!old) return;
    int reading = open(path, O_RDONLY | O_CLOEXEC);
    if (reading < 0 || pread(reading, old, held, offset) != held) held = 0;
    if (reading >= 0) close(reading);
    pthread_mutex_lock(&lock);
    int log = undo_log(about, O_WRONLY | O_CREAT | O_APPEND);
    if (log >= 0) {
        if (lseek(log, 0, SEEK_END) == 0) {
            next_write(log, path, strlen(path));
            next_write(log, "\n", 1);
        }
        int64_t head[3] = {offset, held, about->st_size};
        struct iovec parts[2] = {{head, sizeof head}, {old, held}};
        next_writev(log, parts, 2);
        close(log);
    }
    pthread_mutex_unlock(&lock);
    free(old);
}

static size_t length(const struct iovec *parts, int count) {
    size_t sum = 0;
    for (int i = 0; i < count; i++) sum += parts[i].iov_len;
    return sum;
}

/* Returns -1 with errno when the write must fail. */
static int before_write(int fd, off_t offset, size_t size) {
    char path[PATH_MAX];
    struct stat about;
    int saved = errno;
    if (!ours(fd, path, &about)) {
        errno = saved;
        return 0;
    }
    if (full()) {
        errno = ENOSPC;
        return -1;
    }
    if (offset < 0) {
        offset = fcntl(fd, F_GETFL) & O_APPEND ? about.st_size : lseek(fd, 0, SEEK_CUR);
    }
    remember(fd, path, &about, offset, size);
    errno = saved;
    return 0;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    return before_write(fd, offset, size) ? -1 : next_pwrite(fd, bytes, size, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) {
    return pwrite(fd, bytes, size, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return before_write(fd, offset, length(parts, count)) ? -1
                                                          : next_pwritev(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev(fd, parts, count, offset);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    return before_write(fd, -1, size) ? -1 : next_write(fd, bytes, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return before_write(fd, -1, length(parts, count)) ? -1 : next_writev(fd, parts, count);
}

int ftruncate(int fd, off_t size) {
    char path[PATH_MAX];
    struct stat about;
    if (ours(fd, path, &about) && size < about.st_size) {
        remember(fd, path, &about, size, about.st_size - size);
    }
    return next_ftruncate(fd, size);
}

int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

static int synced(int fd, sync_f next) {
    char path[PATH_MAX], word[16];
    struct stat about;
    long number;
    if (!ours(fd, path, &about)) return next(fd);
    order(word, &number);
    while (strcmp(word, "hang") == 0) {
        usleep(20000);
        order(word, &number);
    }
    if (strcmp(word, "slow") == 0) usleep(number * 1000);
    if (strcmp(word, "error") == 0) {
        int control = open(getenv("JL_DISK_CONTROL"), O_WRONLY | O_TRUNC | O_CLOEXEC);
        if (control >= 0) {
            next_write(control, "none 0\n", 7);
            close(control);
        }
        errno = EIO;
        return -1;
    }
    int result = next(fd);
    if (result == 0) {
        pthread_mutex_lock(&lock);
        int log = undo_log(&about, O_WRONLY);
        if (log >= 0) {
            next_ftruncate(log, 0);
            close(log);
        }
        pthread_mutex_unlock(&lock);
    }
    return result;
}

int fsync(int fd) { return synced(fd, next_fsync); }
int fdatasync(int fd) { return synced(fd, next_fdatasync); }
