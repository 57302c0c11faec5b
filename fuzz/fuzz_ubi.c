/* fuzz_ubi.c: any bytes as behaviour events of a small dataset; what is imported must open. */
#include "base/file.h"
#include "data/import.h"
#include "data/relations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char folder[64], examples[128], products[128], events[128], out[128];

static void put(char path[128], const char *name, const void *data, size_t n)
{
    snprintf(path, 128, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb"); /* not file_write: its fsync would take most of the time */
    if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0)
        abort();
}

static void remove_folder(void)
{
    remove_tree(folder, NULL);
}

static void setup(void)
{
    static const char example_rows[] = "query,query_id,product_id,product_locale,esci_label\n"
                                       "mug,1,p1,us,E\nmug,2,p1,es,E\ncup,3,p2,us,S\n";
    static const char product_rows[] = "product_id,product_locale\np1,us\np1,es\np2,us\n";
    snprintf(folder, sizeof folder, "/tmp/medley-fuzz-XXXXXX");
    if (!mkdtemp(folder))
        abort();
    put(examples, "examples.csv", example_rows, sizeof example_rows - 1);
    put(products, "products.csv", product_rows, sizeof product_rows - 1);
    snprintf(out, sizeof out, "%s/out", folder);
    atexit(remove_folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!folder[0])
        setup();
    put(events, "events.jsonl", data, n);
    struct import_options o = {.examples = examples, .products = products, .events = events};
    medley_error err;
    struct relations r;
    if (dataset_import(&o, out, &err) != MEDLEY_OK)
        return 0;
    if (relations_open(out, &r, &err) != MEDLEY_OK)
        abort();
    relations_close(&r);
    return 0;
}
