/* tokenize.c: `medley tokenize`: texts to token ids, or to a tokenizer of their own. */
#include "cli/cli.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/text_list.h"
#include "cli/tokenize_train.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

enum {
    KEY_TOKENIZER = 1000,
    KEY_BARE,
    KEY_PAIRS,
    KEY_MAX,
    KEY_TRAIN,
    KEY_LOCALE,
    KEY_KIND,
    KEY_SIZE,
    KEY_CASE,
    KEY_SPECIAL
};
struct arguments {
    const char *tokenizer, *file;
    bool json, bare, pairs;
    size_t max_tokens;
    struct train_arguments training;
};

static const struct argp_option options[] = {
    {"tokenizer", KEY_TOKENIZER, "PATH", 0,
     "a tokenizer's file or folder (required, unless --train)", 0},
    {"json", 'j', NULL, 0, "read a JSON array of texts and print JSON", 0},
    {"pairs", KEY_PAIRS, NULL, 0,
     "two texts go into one sequence: lines or items 1 and 2, 3 and 4", 0},
    {"max-tokens", KEY_MAX, "N", 0, "cut to N tokens, the longer text of a pair first", 0},
    {"no-specials", KEY_BARE, NULL, 0, "without special tokens", 0},
    {0, 0, NULL, 0, "Training a tokenizer:", 1},
    {"train", KEY_TRAIN, "PATH", 0,
     "train on the lines of a file (- is standard input), or on the training queries and all "
     "products of a workspace's folder",
     1},
    {"locale", KEY_LOCALE, "NAME", 0, "texts of a workspace: of this locale only", 1},
    {"kind", KEY_KIND, "wordpiece|unigram", 0, "what to train (wordpiece)", 1},
    {"vocabulary", KEY_SIZE, "N", 0, "number of tokens, special ones among them (8192)", 1},
    {"vocab-size", 0, NULL, OPTION_ALIAS, NULL, 1},
    {"keep-case", KEY_CASE, NULL, 0, "tell upper from lower case, and accents apart", 1},
    {"special", KEY_SPECIAL, "TEXT", 0, "one more special token; may be repeated", 1},
    {"output", 'o', "DIR", 0, "where the trained tokenizer is written", 1},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_TOKENIZER:
        a->tokenizer = arg;
        return 0;
    case 'j':
        a->json = true;
        return 0;
    case KEY_BARE:
        a->bare = true;
        return 0;
    case KEY_PAIRS:
        a->pairs = true;
        return 0;
    case KEY_MAX:
        a->max_tokens = (size_t)cli_count("--max-tokens", arg, 1, 1u << 30);
        return 0;
    case KEY_TRAIN:
        a->training.source = arg;
        return 0;
    case KEY_KIND:
        if (strcmp(arg, "wordpiece") != 0 && strcmp(arg, "unigram") != 0)
            argp_error(state, "--kind: expected wordpiece or unigram, not '%s'", arg);
        a->training.how.kind =
            strcmp(arg, "unigram") == 0 ? TOKENIZER_UNIGRAM : TOKENIZER_WORDPIECE;
        return 0;
    case KEY_SIZE:
        a->training.how.vocabulary = (size_t)cli_count("--vocabulary", arg, 1, INT32_MAX / 8);
        return 0;
    case KEY_CASE:
        a->training.how.keep_case = a->training.how.keep_accents = true;
        return 0;
    case KEY_SPECIAL:
        if (a->training.n_specials == MOST_SPECIALS)
            argp_error(state, "--special: more than %d", MOST_SPECIALS);
        a->training.specials[a->training.n_specials++] = arg;
        return 0;
    case KEY_LOCALE:
        a->training.locale = arg;
        return 0;
    case 'o':
        a->training.output = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (a->file || a->training.source)
            return ARGP_ERR_UNKNOWN;
        a->file = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->tokenizer == !a->training.source)
            argp_error(state, "expected either --tokenizer PATH or --train PATH");
        if (!a->training.source != !a->training.output)
            argp_error(state, "--train PATH and --output DIR go together");
        if (a->training.locale && !a->training.source)
            argp_error(state, "--locale chooses texts for --train");
        if (a->pairs && a->bare)
            argp_error(state, "--pairs and --no-specials exclude each other");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "[FILE]",
    .doc = "Print the token ids of texts, with the special tokens that the model expects. "
           "Reads one "
           "text a line (or, with --json, an array of texts) from FILE or standard input. The "
           "tokenizer is a tokenizer.json, a vocab.txt, a vocab.json with merges.txt, a "
           "SentencePiece model, or a folder with one of them.\v"
           "Without --json a line of output is the ids of a text. With it, each text gives its "
           "ids, "
           "tokens and byte offsets into the text ([0,0] for special tokens).\nExample:\n"
           "  echo 'usb c cable' | medley tokenize --tokenizer models/minilm\n"
           "  medley tokenize --train list.txt --kind unigram --vocabulary 8000 -o DIR\n"
           "  medley tokenize --train myshop --locale es -o vocabularies/es",
};

/* Working memory of one run. */
struct run {
    const struct arguments *a;
    struct tokenizer *t;
    struct tokens text, second, joined;
    int32_t *types;
    size_t types_capacity;
    struct strbuf out;
};

static bool join(struct run *r, bool pair)
{
    if (r->text.failed || r->second.failed ||
        !mem_reserve(&r->types, &r->types_capacity, r->text.n + r->second.n + 256,
                     sizeof *r->types))
        return false;
    r->joined.n = 0;
    tokenizer_join(r->t, &r->text, pair ? &r->second : NULL, r->a->max_tokens, &r->joined,
                   r->types);
    return !r->joined.failed;
}

static void print_ids(struct run *r, const struct tokens *t)
{
    for (size_t i = 0; i < t->n; i++)
        sb_addf(&r->out, "%s%d", i ? " " : "", t->ids[i]);
    sb_addc(&r->out, '\n');
}

static void write_json(struct run *r, struct json_writer *w, const struct tokens *t,
                       const int32_t *types)
{
    jw_object(w);
    jw_key(w, "ids"), jw_array(w);
    for (size_t i = 0; i < t->n; i++)
        jw_i64(w, t->ids[i]);
    jw_array_end(w);
    jw_key(w, "tokens"), jw_array(w);
    for (size_t i = 0; i < t->n; i++)
        jw_text(w, tokenizer_token(r->t, t->ids[i]));
    jw_array_end(w);
    jw_key(w, "offsets"), jw_array(w);
    for (size_t i = 0; i < t->n; i++) {
        jw_array(w);
        jw_i64(w, t->begin[i]), jw_i64(w, t->end[i]);
        jw_array_end(w);
    }
    jw_array_end(w);
    if (types) {
        jw_key(w, "type_ids"), jw_array(w);
        for (size_t i = 0; i < t->n; i++)
            jw_i64(w, types[i]);
        jw_array_end(w);
    }
    jw_object_end(w);
}

static bool flush(struct run *r)
{
    fwrite(r->out.s, 1, r->out.n, stdout);
    bool good = !r->out.failed && !ferror(stdout);
    sb_clear(&r->out);
    return good;
}

static medley_status tokenize(struct run *r, const struct text_list *texts, medley_error *err)
{
    size_t step = r->a->pairs ? 2 : 1;
    struct json_writer w;
    jw_init(&w, &r->out, false);
    if (texts->n % step)
        return fail(err, MEDLEY_EINVAL, "--pairs: an odd number of texts, %zu", texts->n);
    if (r->a->json)
        jw_array(&w);
    for (size_t i = 0; i < texts->n; i += step) {
        r->text.n = r->second.n = 0;
        tokenizer_encode(r->t, texts->items[i], &r->text);
        if (r->a->pairs)
            tokenizer_encode(r->t, texts->items[i + 1], &r->second);
        if (!join(r, r->a->pairs))
            return fail_memory(err, "tokens");
        const struct tokens *shown = r->a->bare ? &r->text : &r->joined;
        if (r->a->json)
            write_json(r, &w, shown, r->a->bare ? NULL : r->types);
        else
            print_ids(r, shown);
        if (r->out.n > 1 << 20 && !flush(r))
            break;
    }
    if (r->a->json) {
        jw_array_end(&w);
        sb_addc(&r->out, '\n');
    }
    flush(r);
    return r->out.failed ? fail_memory(err, "output") : MEDLEY_OK;
}

int verb_tokenize(int argc, char **argv)
{
    struct arguments a = {0};
    struct run r = {.a = &a};
    struct text_list texts = {0};
    char *data = NULL;
    size_t n = 0;
    medley_error err;
    cli_parse(&argp, argc, argv, &a);
    if (a.training.source)
        return tokenize_train(&a.training, &err) ? cli_fail(&err) : 0;
    sb_init(&r.out);
    medley_status st = tokenizer_load(a.tokenizer, &r.t, &err);
    if (!st)
        st = file_read(a.file ? a.file : "/dev/stdin", TEXT_LIST_LIMIT, &data, &n, &err);
    if (!st)
        st = a.json ? text_list_json(&texts, data, n, a.file ? a.file : "standard input", &err)
                    : text_list_lines(&texts, data, n, &err);
    if (!st)
        st = tokenize(&r, &texts, &err);
    mem_free(data);
    text_list_deinit(&texts);
    tokens_deinit(&r.text);
    tokens_deinit(&r.second);
    tokens_deinit(&r.joined);
    mem_free(r.types);
    sb_deinit(&r.out);
    tokenizer_free(r.t);
    return st ? cli_fail(&err) : 0;
}
