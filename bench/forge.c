/* forge.c -- what a forged certificate costs: CPU here and in the process that signs, and time.
 *
 * One line of JSON; figures are microseconds a certificate.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "tls/ca.h"
#include "tls/leaf_cache.h"
#include "tls/signer_line.h"

#define ALONE 2000
#define FORGES 20000
#define AT_ONCE 16
#define RATE 1000000

static struct {
    struct sl_leaf_get_conf get;
    unsigned wanted, done;
} bench;

static pid_t child_of(pid_t parent)
{
    char path[64], child[32] = "";
    FILE *children;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
    children = fopen(path, "r");
    if (children == NULL || fgets(child, sizeof(child), children) == NULL)
        exit(1);
    (void)fclose(children);
    return (pid_t)strtol(child, NULL, 10);
}

static double cpu_us_of(pid_t pid)
{
    struct timespec t;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        exit(1);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void forge_next(void);

static void on_leaf(void *arg, struct sl_leaf *leaf, bool forged, const struct sl_fault *fault)
{
    (void)arg;
    if (!forged) {
        (void)fprintf(stderr, "not forged: %s\n", fault->text);
        exit(1);
    }
    sl_leaf_unref(&leaf);
    bench.done++;
    forge_next();
}

static void forge_next(void)
{
    char name[32];
    int n;

    if (bench.wanted == 0)
        return;
    n = snprintf(name, sizeof(name), "host-%u.bench.test", bench.wanted--);
    (void)sl_leaf_get_start(&bench.get, sl_str_make(name, (size_t)n), on_leaf, NULL);
}

static void run(unsigned n, unsigned at_once)
{
    bench.wanted = n;
    bench.done = 0;
    for (unsigned i = 0; i < at_once; i++)
        forge_next();
    while (bench.done < n)
        sl_loop_turn(bench.get.loop, true);
}

static void open_ca(struct sl_signer *signer, struct sl_ca **ret_ca)
{
    char dir[] = "/tmp/sluice-bench-XXXXXX", cert[64], key[64];
    const struct sl_signer_paths paths = { .certificate = cert, .key = key };
    struct sl_fault fault = { 0 };

    if (mkdtemp(dir) == NULL)
        exit(1);
    (void)snprintf(cert, sizeof(cert), "%s/ca.pem", dir);
    (void)snprintf(key, sizeof(key), "%s/ca.key", dir);
    if (sl_signer_make_ca(signer, &paths, &fault) != SL_OK ||
        sl_ca_load(&(struct sl_ca_source){ .certificate = cert, .key = key, .signer = signer },
                   ret_ca, &fault) != SL_OK) {
        (void)fprintf(stderr, "%s\n", fault.text);
        exit(1);
    }
    (void)unlink(cert);
    (void)unlink(key);
    (void)rmdir(dir);
}

static void report(pid_t signer)
{
    double own, signers, wall;

    run(ALONE, AT_ONCE);
    own = cpu_us_of(getpid());
    signers = cpu_us_of(signer);
    run(FORGES, AT_ONCE);
    own = (cpu_us_of(getpid()) - own) / FORGES;
    signers = (cpu_us_of(signer) - signers) / FORGES;
    wall = (double)sl_mono_us();
    run(ALONE, 1);
    wall = ((double)sl_mono_us() - wall) / ALONE;
    printf("{\"cpu_us\": %.1f, \"of_it_signer\": %.1f, \"alone_us\": %.1f}\n", own + signers,
           signers, wall);
}

int main(void)
{
    struct sl_signer *signer = NULL;
    struct sl_fault fault = { 0 };

    if (sl_signer_start(RATE, &signer, &fault) != SL_OK)
        return 1;
    open_ca(signer, &bench.get.ca);
    bench.get.leaf.lifetime_s = 86400;
    bench.get.cache = sl_leaf_cache_new(0);
    bench.get.keys = sl_leaf_keys_new();
    bench.get.loop = sl_loop_new();
    bench.get.mailbox = sl_mailbox_new(bench.get.loop);
    bench.get.signer = sl_signer_line_new(bench.get.loop, signer);
    report(child_of(child_of(getpid())));
    sl_signer_line_close(&bench.get.signer);
    sl_mailbox_free(&bench.get.mailbox);
    sl_loop_free(&bench.get.loop);
    sl_leaf_keys_free(&bench.get.keys);
    sl_leaf_cache_free(&bench.get.cache);
    sl_ca_unref(&bench.get.ca);
    sl_signer_unref(&signer);
    return 0;
}
