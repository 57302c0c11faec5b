/* match.c: what raw features alone say about a pair, seen within its neighbourhood: how alike
 * query and product are, how that compares with the other candidates of the query, how alike
 * the product is to those candidates. Message passing averages over neighbours and blurs such
 * exact matches, so the classifier gets them beside the learned rows. Nothing here is trained,
 * and the pair's own edge is hidden here too, because only the edges of the sample are read. */
#include "gnn/link_model.h"

#include <math.h>
#include <string.h>

/* Cosines of texts lie within a few tenths of each other; at this scale they differ by about
 * one, as the other inputs do. */
#define CONTRAST 3.0f

size_t match_scratch(size_t width)
{
    return 2 * width;
}

static float cosine(const float *a, const float *b, size_t width)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t k = 0; k < width; k++) {
        ab += (double)(a[k] * b[k]);
        aa += (double)(a[k] * a[k]);
        bb += (double)(b[k] * b[k]);
    }
    return aa > 0 && bb > 0 ? (float)(ab / sqrt(aa * bb)) : 0;
}

/* The raw features of a source row of the last block: rows keep a copy of themselves in every
 * level below. */
static const float *raw_row(const struct encoding *e, size_t width, size_t row)
{
    for (unsigned h = e->sample.hops - 1; h > 0; h--)
        row = e->sample.blocks[h - 1].self[row];
    return e->leaf + row * width;
}

/* The mean raw row of a root's neighbours; zero without any. */
static void mean_row(const struct encoding *e, size_t width, size_t root, float *out)
{
    const struct block *b = &e->sample.blocks[e->sample.hops - 1];
    size_t n = b->offsets[root + 1] - b->offsets[root];
    memset(out, 0, width * sizeof *out);
    for (size_t i = b->offsets[root]; i < b->offsets[root + 1]; i++) {
        const float *x = raw_row(e, width, b->source[i]);
        for (size_t k = 0; k < width; k++)
            out[k] += x[k] / (float)n;
    }
}

/* Sampled edges are weighted up, so this estimates the whole degree. */
static float log_degree(const struct block *b, size_t root)
{
    float sum = 0;
    for (size_t i = b->offsets[root]; i < b->offsets[root + 1]; i++)
        sum += b->weight[i];
    return log1pf(sum);
}

void match_features(const struct encoding *e, size_t width, size_t n, float *scratch,
                    float *out)
{
    const struct block *b = &e->sample.blocks[e->sample.hops - 1];
    float *around_q = scratch, *around_p = scratch + width;
    for (size_t i = 0; i < n; i++, out += MATCH_COLUMNS) {
        const float *q = raw_row(e, width, b->self[i]), *p = raw_row(e, width, b->self[n + i]);
        size_t others = b->offsets[i + 1] - b->offsets[i];
        float own = cosine(q, p, width), mean = 0, better = 0;
        for (size_t j = b->offsets[i]; j < b->offsets[i + 1]; j++) {
            float c = cosine(q, raw_row(e, width, b->source[j]), width);
            mean += c / (float)others;
            better += (c > own ? 1.0f : c < own ? 0.0f : 0.5f) / (float)others;
        }
        mean_row(e, width, i, around_q);
        mean_row(e, width, n + i, around_p);
        out[0] = CONTRAST * own;
        out[1] = CONTRAST * mean;
        out[2] = others ? CONTRAST * (own - mean) : 0;
        out[3] = others ? CONTRAST * (0.5f - better) : 0;
        out[4] = CONTRAST * cosine(around_q, p, width);
        out[5] = CONTRAST * cosine(q, around_p, width);
        out[6] = CONTRAST * cosine(around_q, around_p, width);
        out[7] = log_degree(b, i);
        out[8] = log_degree(b, n + i);
    }
}
