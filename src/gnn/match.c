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

float match_cosine(const float *a, const float *b, size_t width)
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

size_t match_scratch(const struct encoding *e, size_t width, size_t n)
{
    const struct block *b = &e->sample.blocks[e->sample.hops - 1];
    size_t most = 0;
    for (size_t i = 0; i < n; i++)
        if (b->offsets[i + 1] - b->offsets[i] > most)
            most = b->offsets[i + 1] - b->offsets[i];
    return 2 * width + most;
}

struct match_side match_product(const struct encoding *e, size_t width, size_t root,
                                float *around)
{
    const struct block *b = &e->sample.blocks[e->sample.hops - 1];
    mean_row(e, width, root, around);
    return (struct match_side){.raw = raw_row(e, width, b->self[root]),
                               .around = around,
                               .log_degree = log_degree(b, root)};
}

struct match_side match_query(const struct encoding *e, size_t width, size_t root,
                              float *around, float *others)
{
    const struct block *b = &e->sample.blocks[e->sample.hops - 1];
    struct match_side q = match_product(e, width, root, around);
    for (size_t j = b->offsets[root]; j < b->offsets[root + 1]; j++)
        others[q.n_others++] = match_cosine(q.raw, raw_row(e, width, b->source[j]), width);
    q.others = others;
    return q;
}

void match_pair(const struct match_side *q, const struct match_side *p, size_t width,
                float *out)
{
    float own = match_cosine(q->raw, p->raw, width), mean = 0, better = 0, n = (float)q->n_others;
    for (size_t j = 0; j < q->n_others; j++) {
        float c = q->others[j];
        mean += c / n;
        better += (c > own ? 1.0f : c < own ? 0.0f : 0.5f) / n;
    }
    out[0] = CONTRAST * own;
    out[1] = CONTRAST * mean;
    out[2] = q->n_others ? CONTRAST * (own - mean) : 0;
    out[3] = q->n_others ? CONTRAST * (0.5f - better) : 0;
    out[4] = CONTRAST * match_cosine(q->around, p->raw, width);
    out[5] = CONTRAST * match_cosine(q->raw, p->around, width);
    out[6] = CONTRAST * match_cosine(q->around, p->around, width);
    out[7] = q->log_degree;
    out[8] = p->log_degree;
}

void match_features(const struct encoding *e, size_t width, size_t n, float *scratch,
                    float *out)
{
    for (size_t i = 0; i < n; i++, out += MATCH_COLUMNS) {
        struct match_side q = match_query(e, width, i, scratch, scratch + 2 * width),
                          p = match_product(e, width, n + i, scratch + width);
        match_pair(&q, &p, width, out);
    }
}
