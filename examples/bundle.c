/* bundle.c: answer requests from C with what `medley run` wrote: one query, candidate products,
 * and how much each base model drove each label.
 *
 *     cc -std=c11 bundle.c $(pkg-config --cflags --libs medley) -o bundle
 *     ./bundle shop/bundle/current 'usb cable' P1 P2 */
#include "medley/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1000 };

int main(int argc, char **argv)
{
    static medley_product products[MOST];
    static medley_result results[MOST];
    medley_bundle *b = NULL;
    medley_error err;
    if (argc < 4 || argc - 3 > MOST)
        return fprintf(stderr, "usage: bundle FOLDER QUERY PRODUCT_ID...\n"), 2;
    size_t n = (size_t)argc - 3;
    for (size_t i = 0; i < n;
         i++) /* or give texts, for products that the bundle does not know */
        products[i].id = (medley_text){argv[3 + i], strlen(argv[3 + i])};
    if (medley_bundle_open(argv[1], &b, &err))
        return fprintf(stderr, "bundle: %s\n", err.message), 1;

    size_t m = medley_bundle_models(b), k = medley_bundle_classes(b);
    float *driven = malloc(n * (m + 1) * k * sizeof *driven);
    medley_classify_options options = {.contributions = driven, .deadline_ms = 1000};
    medley_text query = {argv[2], strlen(argv[2])}, locale = {"us", 2};
    medley_status status =
        driven ? medley_bundle_classify(b, query, locale, products, n, &options, results, &err)
               : MEDLEY_ENOMEM;
    if (status)
        fprintf(stderr, "bundle: %s\n", driven ? err.message : medley_status_text(status));
    for (size_t i = 0; i < n && !status; i++) {
        const medley_result *r = &results[i];
        printf("%s: %s %.3f%s", argv[3 + i], medley_bundle_class(b, r->label),
               (double)r->probabilities[r->label],
               r->known_product ? "" : " (unknown product)");
        for (size_t j = 0; j <= m; j++)
            printf("  %s %+.2f", j < m ? medley_bundle_model(b, j) : "context",
                   (double)driven[(i * (m + 1) + j) * k + r->label]);
        printf("\n");
    }
    free(driven);
    medley_bundle_close(b);
    return status != MEDLEY_OK;
}
