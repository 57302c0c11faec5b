/* regex.c: see regex.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include "base/error.h"
#include "base/memory.h"

#include <pcre2.h>
#include <pthread.h>

struct regex {
    pcre2_code *code;
    pthread_key_t match_data; /* one block a thread */
};

static void free_match_data(void *block)
{
    pcre2_match_data_free(block);
}

medley_status regex_new(struct str pattern, bool literal, struct regex **out, medley_error *err)
{
    int code = 0;
    size_t at = 0;
    struct regex *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return fail_memory(err, "a pattern");
    uint32_t options =
        PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C);
    r->code = pcre2_compile((PCRE2_SPTR)pattern.s, pattern.n, options, &code, &at, NULL);
    if (!r->code) {
        char message[128] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
        mem_free(r);
        return fail(err, MEDLEY_EUNSUPPORTED, "pattern '%.*s' is not supported: %s at byte %zu",
                    (int)(pattern.n < 200 ? pattern.n : 200), pattern.s, message, at);
    }
    if (pthread_key_create(&r->match_data, free_match_data) != 0) {
        pcre2_code_free(r->code);
        mem_free(r);
        return fail_memory(err, "a pattern");
    }
    pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* without it matching is only slower */
    *out = r;
    return MEDLEY_OK;
}

void regex_free(struct regex *r)
{
    if (!r)
        return;
    free_match_data(pthread_getspecific(r->match_data));
    pthread_key_delete(r->match_data);
    pcre2_code_free(r->code);
    mem_free(r);
}

bool regex_next(const struct regex *r, struct str text, size_t at, size_t *begin, size_t *end)
{
    pcre2_match_data *block = pthread_getspecific(r->match_data);
    if (!block) {
        block = pcre2_match_data_create_from_pattern(r->code, NULL);
        if (!block || pthread_setspecific(r->match_data, block) != 0)
            return false;
    }
    int n =
        pcre2_match(r->code, (PCRE2_SPTR)text.s, text.n, at, PCRE2_NO_UTF_CHECK, block, NULL);
    if (n < 0)
        return false;
    const size_t *ends = pcre2_get_ovector_pointer(block);
    *begin = ends[0];
    *end = ends[1];
    return ends[0] <= ends[1] && ends[0] >= at;
}
