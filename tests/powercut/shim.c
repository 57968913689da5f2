/* A disk that loses what was not synced, for LD_PRELOAD.
 *
 * What a program does below POWERCUT_SOURCE happens as usual, and is written down a second time
 * in POWERCUT_PLATTER, as far as a power cut would spare it:
 *
 *   file-<inode>   the octets of a file that a completed fsync or fdatasync covers. Of later
 *                  writes any sectors may be there as well, chosen by POWERCUT_SEED.
 *   dir-<inode>    the names in a directory as of its last completed fsync, one a line:
 *                  "d <inode> <name>" or "f <inode> <name>".
 *
 *   ready          made when the platter is complete at the start: cut the power only then.
 *
 * The test kills the program with SIGKILL and builds the directory anew from the platter.
 *
 * While the file POWERCUT_FAULT exists, its first letter says what goes wrong below the source:
 * 'f' the disk is full: writes and growth fail with ENOSPC; 's' a sync fails with EIO, and what
 * it should have written is lost, although the kernel goes on to show it: so Linux does.
 *
 * Simplifications: no mmap, no dup, no rename over synced names; a failed sync forgets data,
 * never the length.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS = 65536, FILES = 65536, SECTOR = 512, PATH_OCTETS = 4096 };

struct change {
    struct change *next;
    off_t offset;
    size_t octets;
    int sets_length;
    char data[];
};

struct file {
    ino_t inode;
    struct change *first, **last;
};

enum kind { FOREIGN, REGULAR, DIRECTORY };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file files[FILES];
static struct { enum kind kind; ino_t inode; } descriptors[DESCRIPTORS];
static const char *source, *platter, *fault;
static uint64_t random_state;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_sync)(int);
static int (*real_datasync)(int);
static int (*real_truncate)(int, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);

static void die(const char *what) {
    perror(what);
    abort();
}

static uint64_t random_below(uint64_t bound) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % bound;
}

static void platter_path(char *path, const char *kind, ino_t inode) {
    snprintf(path, PATH_OCTETS, "%s/%s-%lu", platter, kind, (unsigned long)inode);
}

static int open_platter(ino_t inode, int flags) {
    char path[PATH_OCTETS];
    platter_path(path, "file", inode);
    int descriptor = real_open(path, O_CREAT | O_RDWR | flags, 0600);
    if (descriptor < 0) die("shim: platter");
    return descriptor;
}

/* ---- what the platter holds ---- */

static struct file *file_of(ino_t inode) {
    unsigned slot = (unsigned)(inode * 2654435761u) % FILES;
    while (files[slot].inode && files[slot].inode != inode) slot = (slot + 1) % FILES;
    if (!files[slot].inode) {
        files[slot].inode = inode;
        files[slot].last = &files[slot].first;
    }
    return &files[slot];
}

static void forget_changes(struct file *file, int keep_lengths) {
    struct change *change = file->first;
    file->first = NULL;
    file->last = &file->first;
    while (change) {
        struct change *next = change->next;
        if (keep_lengths && change->sets_length) {
            change->next = NULL;
            *file->last = change;
            file->last = &change->next;
        } else {
            free(change);
        }
        change = next;
    }
}

static void write_whole(int descriptor, const char *data, size_t octets, off_t offset) {
    while (octets) {
        ssize_t done = real_pwrite(descriptor, data, octets, offset);
        if (done <= 0) die("shim: pwrite");
        data += done, octets -= done, offset += done;
    }
}

/* Some sectors of an unsynced write may reach the disk early, and others never. */
static void leak(ino_t inode, off_t offset, const char *data, size_t octets) {
    if (random_below(4)) return;
    off_t from = offset, end = offset + (off_t)octets;
    int descriptor = open_platter(inode, 0);
    while (from < end) {
        off_t next = (from / SECTOR + 1 + (off_t)random_below(8)) * SECTOR;
        if (next > end) next = end;
        if (random_below(2)) write_whole(descriptor, data + (from - offset), next - from, from);
        from = next;
    }
    real_close(descriptor);
}

static void remember(ino_t inode, off_t offset, const void *data, size_t octets, int sets_length) {
    struct file *file = file_of(inode);
    struct change *change = malloc(sizeof *change + octets);
    if (!change) die("shim: malloc");
    *change = (struct change){.offset = offset, .octets = octets, .sets_length = sets_length};
    if (octets) {
        memcpy(change->data, data, octets);
        leak(inode, offset, data, octets);
    }
    *file->last = change;
    file->last = &change->next;
}

static void settle_file(ino_t inode) {
    struct file *file = file_of(inode);
    int descriptor = open_platter(inode, 0);
    for (struct change *change = file->first; change; change = change->next) {
        if (change->sets_length) {
            if (real_truncate(descriptor, change->offset)) die("shim: truncate");
        } else {
            write_whole(descriptor, change->data, change->octets, change->offset);
        }
    }
    real_close(descriptor);
    forget_changes(file, 0);
}

static void settle_directory(const char *path, ino_t inode) {
    char target[PATH_OCTETS], fresh[PATH_OCTETS + 8];
    platter_path(target, "dir", inode);
    snprintf(fresh, sizeof fresh, "%s.new", target);
    FILE *listing = fopen(fresh, "w");
    DIR *directory = opendir(path);
    if (!listing || !directory) die("shim: directory");
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char letter = entry->d_type == DT_DIR ? 'd' : 'f';
        fprintf(listing, "%c %lu %s\n", letter, (unsigned long)entry->d_ino, entry->d_name);
    }
    closedir(directory);
    fclose(listing);
    if (rename(fresh, target)) die("shim: rename");
}

static int settle_existing(const char *path, const struct stat *found, int type, struct FTW *at) {
    (void)at;
    if (type == FTW_D) {
        settle_directory(path, found->st_ino);
    } else if (type == FTW_F) {
        char piece[65536];
        int from = real_open(path, O_RDONLY), to = open_platter(found->st_ino, O_TRUNC);
        off_t offset = 0;
        for (ssize_t octets; (octets = read(from, piece, sizeof piece)) > 0; offset += octets)
            write_whole(to, piece, octets, offset);
        real_close(from);
        real_close(to);
    }
    return 0;
}

/* ---- start ---- */

static void resolve(void) {
    if (real_write) return;
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_sync = dlsym(RTLD_NEXT, "fsync");
    real_datasync = dlsym(RTLD_NEXT, "fdatasync");
    real_truncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
}

__attribute__((constructor)) static void start(void) {
    resolve();
    const char *root = getenv("POWERCUT_SOURCE"), *seed = getenv("POWERCUT_SEED");
    platter = getenv("POWERCUT_PLATTER");
    fault = getenv("POWERCUT_FAULT");
    if (!root || !platter) return;
    random_state = (seed ? strtoull(seed, NULL, 10) : 0) * 2 + 1;
    /* What is there at the start is durable. `source` is still unset: we watch nothing yet. */
    if (nftw(root, settle_existing, 16, FTW_PHYS)) die("shim: nftw");
    source = root;
    char ready[PATH_OCTETS];
    snprintf(ready, sizeof ready, "%s/ready", platter);
    real_close(real_open(ready, O_CREAT | O_WRONLY, 0600));
}

static char fault_now(void) {
    char letter = 0;
    if (!fault) return 0;
    int descriptor = real_open(fault, O_RDONLY);
    if (descriptor < 0) return 0;
    if (read(descriptor, &letter, 1) < 1) letter = 0;
    real_close(descriptor);
    return letter;
}

static enum kind kind_of(int descriptor) {
    resolve();
    if (!source || descriptor < 0 || descriptor >= DESCRIPTORS) return FOREIGN;
    return descriptors[descriptor].kind;
}

static int opened(int descriptor) {
    if (!source || descriptor < 0 || descriptor >= DESCRIPTORS) return descriptor;
    int error = errno;
    char link[64], path[PATH_OCTETS];
    struct stat found;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t octets = readlink(link, path, sizeof path - 1);
    path[octets > 0 ? octets : 0] = 0;
    pthread_mutex_lock(&lock);
    descriptors[descriptor].kind = FOREIGN;
    if (!strncmp(path, source, strlen(source)) && !fstat(descriptor, &found)) {
        descriptors[descriptor].inode = found.st_ino;
        if (S_ISDIR(found.st_mode)) descriptors[descriptor].kind = DIRECTORY;
        if (S_ISREG(found.st_mode)) {
            descriptors[descriptor].kind = REGULAR;
            /* A new file may have got the number of a removed one. */
            if (found.st_size == 0) {
                forget_changes(file_of(found.st_ino), 0);
                real_close(open_platter(found.st_ino, O_TRUNC));
            }
        }
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return descriptor;
}

/* ---- what the program calls ---- */

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    resolve();
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, int);
        va_end(arguments);
    }
    return opened(real_open(path, flags, mode));
}

int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, int);
        va_end(arguments);
    }
    return open64(path, flags, mode);
}

int close(int descriptor) {
    resolve();
    if (descriptor >= 0 && descriptor < DESCRIPTORS) descriptors[descriptor].kind = FOREIGN;
    return real_close(descriptor);
}

static int refuses_writes(void) {
    if (fault_now() != 'f') return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t pwrite64(int descriptor, const void *data, size_t octets, off_t offset) {
    if (kind_of(descriptor) != REGULAR) return real_pwrite(descriptor, data, octets, offset);
    if (refuses_writes()) return -1;
    pthread_mutex_lock(&lock);
    ssize_t done = real_pwrite(descriptor, data, octets, offset);
    if (done > 0) remember(descriptors[descriptor].inode, offset, data, done, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int descriptor, const void *data, size_t octets, off_t offset) {
    return pwrite64(descriptor, data, octets, offset);
}

ssize_t write(int descriptor, const void *data, size_t octets) {
    if (kind_of(descriptor) != REGULAR) return real_write(descriptor, data, octets);
    if (refuses_writes()) return -1;
    pthread_mutex_lock(&lock);
    ssize_t done = real_write(descriptor, data, octets);
    if (done > 0) {
        off_t end = lseek(descriptor, 0, SEEK_CUR);
        remember(descriptors[descriptor].inode, end - done, data, done, 0);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t writev(int descriptor, const struct iovec *pieces, int count) {
    if (kind_of(descriptor) != REGULAR) return real_writev(descriptor, pieces, count);
    /* A short write is a correct answer. */
    return count ? write(descriptor, pieces[0].iov_base, pieces[0].iov_len) : 0;
}

int ftruncate64(int descriptor, off_t octets) {
    if (kind_of(descriptor) != REGULAR) return real_truncate(descriptor, octets);
    if (refuses_writes()) return -1;
    pthread_mutex_lock(&lock);
    int outcome = real_truncate(descriptor, octets);
    if (!outcome) remember(descriptors[descriptor].inode, octets, NULL, 0, 1);
    pthread_mutex_unlock(&lock);
    return outcome;
}

int ftruncate(int descriptor, off_t octets) { return ftruncate64(descriptor, octets); }

static int settle(int descriptor, int (*real)(int)) {
    enum kind kind = kind_of(descriptor);
    if (kind == FOREIGN) return real(descriptor);
    char path[PATH_OCTETS], link[64];
    pthread_mutex_lock(&lock);
    /* The real sync is left out: the machine does not lose its power, and we want its pace. */
    ino_t inode = descriptors[descriptor].inode;
    int outcome = 0;
    if (fault_now() == 's') {
        if (kind == REGULAR) forget_changes(file_of(inode), 1);
        errno = EIO;
        outcome = -1;
    } else if (kind == REGULAR) {
        settle_file(inode);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        ssize_t octets = readlink(link, path, sizeof path - 1);
        path[octets > 0 ? octets : 0] = 0;
        settle_directory(path, inode);
    }
    pthread_mutex_unlock(&lock);
    return outcome;
}

int fsync(int descriptor) { return resolve(), settle(descriptor, real_sync); }
int fdatasync(int descriptor) { return resolve(), settle(descriptor, real_datasync); }
