/* cross_encoder.c: ask one language model alone, without the ensemble: what a query and the
 * titles of products have to do with each other.
 *
 *     cc -std=c11 cross_encoder.c $(pkg-config --cflags --libs medley) -o cross_encoder
 *     ./cross_encoder shop/bundle/current/models/small 'usb cable' 'USB-C cable, 2 m' 'Mouse pad' */
#include "medley/cross_encoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1000 };

static medley_text text(const char *s)
{
    return (medley_text){s, strlen(s)};
}

int main(int argc, char **argv)
{
    static medley_pair pairs[MOST];
    medley_cross_encoder *m = NULL;
    medley_error err;
    if (argc < 4 || argc - 3 > MOST)
        return fprintf(stderr, "usage: cross_encoder FOLDER QUERY TITLE...\n"), 2;
    if (medley_cross_encoder_open(argv[1], &m, &err))
        return fprintf(stderr, "cross_encoder: %s\n", err.message), 1;

    size_t n = (size_t)argc - 3, k = medley_cross_encoder_classes(m);
    for (size_t i = 0; i < n; i++)
        pairs[i] = (medley_pair){.query = text(argv[2]),
                                 .locale = text("us"),
                                 .product = {.title = text(argv[3 + i])}};
    float *p = malloc(n * k * sizeof *p);
    medley_status status =
        p ? medley_cross_encoder_predict(m, pairs, n, p, &err) : MEDLEY_ENOMEM;
    if (status)
        fprintf(stderr, "cross_encoder: %s\n", p ? err.message : medley_status_text(status));
    for (size_t i = 0; i < n && !status; i++) {
        printf("%s:", argv[3 + i]);
        for (size_t c = 0; c < k; c++)
            printf(" %s %.3f", medley_cross_encoder_class(m, c), (double)p[i * k + c]);
        printf("\n");
    }
    free(p);
    medley_cross_encoder_close(m);
    return status != MEDLEY_OK;
}
