/* replay.c -- feeds a fuzz target its corpus without libFuzzer, in any build.
 *
 * Each input goes in whole, cut at up to MAX_CUTS lengths, and with single bytes changed: enough to
 * walk the paths of incomplete and slightly wrong input in every ordinary test run. Each variant
 * gets an allocation of exactly its size, so that a read past its end is seen by ASan and valgrind.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_BYTES (1u << 20)
#define MAX_CUTS 256
#define MAX_CHANGES 64

static size_t n_runs;

static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    n_runs++;
}

static void feed_cuts(const uint8_t *data, size_t size)
{
    size_t stride = size / MAX_CUTS + 1;

    for (size_t len = 0; len < size; len += stride)
        feed(data, len);
}

static void feed_changes(uint8_t *data, size_t size)
{
    static const uint8_t values[] = { 0x00, 0x0a, 0x20, 0x7f, 0xff };
    size_t stride = size / MAX_CHANGES + 1;

    for (size_t at = 0; at < size; at += stride) {
        uint8_t was = data[at];

        data[at] = values[at % sizeof(values)];
        feed(data, size);
        data[at] = was;
    }
}

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(MAX_BYTES);
    size_t size;

    if (file == NULL || data == NULL) {
        perror(path);
        return 1;
    }
    size = fread(data, 1, MAX_BYTES, file);
    fclose(file);
    feed(data, size);
    feed_cuts(data, size);
    feed_changes(data, size);
    free(data);
    return 0;
}

static int replay_directory(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    int failed = 0;

    if (n < 0) {
        perror(path);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        char name[8192];

        snprintf(name, sizeof(name), "%.4096s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            failed |= replay_file(name);
        free(entries[i]);
    }
    free(entries);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;

    feed((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        struct stat st;
        int is_directory = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);

        failed |= is_directory ? replay_directory(argv[i]) : replay_file(argv[i]);
    }
    printf("%zu inputs\n", n_runs);
    return failed;
}
