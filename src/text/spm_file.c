/* spm_file.c: the fields of sentencepiece_model.proto that encoding needs; others are skipped.
 */
#include "text/spm_file.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

/* What is left of a message. */
struct reader {
    const unsigned char *at, *end;
    bool bad;
};

static uint64_t read_varint(struct reader *r)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end)
            break;
        unsigned char byte = *r->at++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
    r->bad = true;
    return 0;
}

static struct str read_bytes(struct reader *r)
{
    uint64_t n = read_varint(r);
    if (r->bad || n > (uint64_t)(r->end - r->at)) {
        r->bad = true;
        return (struct str){NULL, 0};
    }
    struct str s = {(const char *)r->at, (size_t)n};
    r->at += n;
    return s;
}

static float read_float(struct reader *r)
{
    float value = 0;
    if (r->end - r->at < 4) {
        r->bad = true;
        return 0;
    }
    memcpy(&value, r->at, 4);
    r->at += 4;
    return value;
}

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static void skip(struct reader *r, unsigned wire)
{
    size_t fixed = wire == WIRE_64 ? 8 : 4;
    if (wire == WIRE_VARINT)
        read_varint(r);
    else if (wire == WIRE_BYTES)
        read_bytes(r);
    else if ((wire == WIRE_64 || wire == WIRE_32) && (size_t)(r->end - r->at) >= fixed)
        r->at += fixed;
    else
        r->bad = true;
}

static struct reader reader_of(struct str s)
{
    /* Never NULL, so that adding nothing to it is defined. */
    const unsigned char *at = (const unsigned char *)(s.s ? s.s : "");
    return (struct reader){at, at + s.n, false};
}

/* The next field's number and wire type; false at the end or on damage. */
static bool next_field(struct reader *r, uint64_t *field, unsigned *wire)
{
    if (r->bad || r->at == r->end)
        return false;
    uint64_t tag = read_varint(r);
    *field = tag >> 3;
    *wire = tag & 7;
    return !r->bad;
}

static bool parse_piece(struct str message, struct spm_piece *out)
{
    struct reader r = reader_of(message);
    uint64_t field;
    unsigned wire;
    *out = (struct spm_piece){.type = SPM_NORMAL};
    while (next_field(&r, &field, &wire)) {
        if (field == 1 && wire == WIRE_BYTES) {
            out->text = read_bytes(&r);
        } else if (field == 2 && wire == WIRE_32) {
            out->score = read_float(&r);
        } else if (field == 3 && wire == WIRE_VARINT) {
            uint64_t type = read_varint(&r);
            out->type = type <= SPM_BYTE ? (enum spm_type)type : SPM_UNUSED;
        } else {
            skip(&r, wire);
        }
    }
    return !r.bad && isfinite(out->score) && utf8_valid(out->text, NULL);
}

static bool parse_trainer(struct str message, struct spm_file *out)
{
    struct reader r = reader_of(message);
    uint64_t field;
    unsigned wire;
    while (next_field(&r, &field, &wire)) {
        if (field == 3 && wire == WIRE_VARINT)
            out->model_type = (int64_t)read_varint(&r);
        else
            skip(&r, wire);
    }
    return !r.bad;
}

static bool parse_normalizer(struct str message, struct spm_file *out)
{
    struct reader r = reader_of(message);
    uint64_t field;
    unsigned wire;
    while (next_field(&r, &field, &wire)) {
        if (field == 2 && wire == WIRE_BYTES)
            out->charsmap = read_bytes(&r);
        else if (field == 4 && wire == WIRE_VARINT)
            out->squeeze = read_varint(&r) != 0;
        else
            skip(&r, wire);
    }
    return !r.bad;
}

static medley_status damaged(const char *name, const struct reader *r, struct str data,
                             medley_error *err)
{
    return fail(err, MEDLEY_EFORMAT, "%s: not a SentencePiece model, or damaged near byte %zu",
                name, (size_t)((const char *)r->at - data.s));
}

medley_status spm_parse(struct str data, const char *name, struct spm_file *out,
                        medley_error *err)
{
    struct reader r = reader_of(data);
    struct spm_file f = {.model_type = 1, .squeeze = true};
    uint64_t field;
    unsigned wire;
    medley_status st = MEDLEY_OK;
    while (!st && next_field(&r, &field, &wire)) {
        bool good = true;
        if (field == 1 && wire == WIRE_BYTES) {
            struct str message = read_bytes(&r);
            if (!mem_reserve(&f.pieces, &f.capacity, f.n + 1, sizeof *f.pieces))
                st = fail_memory(err, "a vocabulary");
            else
                good = parse_piece(message, &f.pieces[f.n++]);
        } else if (field == 2 && wire == WIRE_BYTES) {
            good = parse_trainer(read_bytes(&r), &f);
        } else if (field == 3 && wire == WIRE_BYTES) {
            good = parse_normalizer(read_bytes(&r), &f);
        } else {
            skip(&r, wire);
        }
        if (!st && !good)
            st = damaged(name, &r, data, err);
    }
    if (!st && (r.bad || !f.n))
        st = damaged(name, &r, data, err);
    if (st)
        spm_deinit(&f);
    else
        *out = f;
    return st;
}

void spm_deinit(struct spm_file *f)
{
    mem_free(f->pieces);
    f->pieces = NULL;
}
