/* tokenize_train.c: see tokenize_train.h. */
#include "cli/tokenize_train.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/text_list.h"
#include "ensemble/workspace.h"
#include "lm/corpus.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool next_line(void *context, struct str *text)
{
    struct text_list *rest = context;
    if (!rest->n)
        return false;
    *text = *rest->items++;
    rest->n--;
    return true;
}

static medley_status train_on_lines(const struct train_arguments *a, struct tokenizer **out,
                                    medley_error *err)
{
    struct text_list texts = {0};
    char *data = NULL;
    size_t n = 0;
    bool standard = strcmp(a->source, "-") == 0;
    medley_status st =
        file_read(standard ? "/dev/stdin" : a->source, TEXT_LIST_LIMIT, &data, &n, err);
    if (!st)
        st = text_list_lines(&texts, data, n, err);
    struct text_list rest = texts;
    if (!st && !texts.n)
        st = fail(err, MEDLEY_EINVAL, "%s: no text to train on",
                  standard ? "standard input" : a->source);
    if (!st)
        st = tokenizer_train(&a->how, next_line, &rest, out, err);
    text_list_deinit(&texts);
    mem_free(data);
    return st;
}

static medley_status train_on_workspace(const struct train_arguments *a, struct tokenizer **out,
                                        medley_error *err)
{
    struct workspace w;
    medley_status st = workspace_open(a->source, &w, err);
    if (st)
        return st;
    st = workspace_open_data(&w, err);
    if (!st)
        st = corpus_train_tokenizer(&w.data, a->locale, &a->how, out, err);
    workspace_close(&w);
    return st;
}

static bool is_folder(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

medley_status tokenize_train(struct train_arguments *a, medley_error *err)
{
    struct tokenizer *t = NULL;
    bool folder = is_folder(a->source);
    a->how.extra_specials = a->specials;
    if (a->locale && !folder)
        return fail(err, MEDLEY_EINVAL, "--locale: %s is not the folder of a workspace",
                    a->source);
    medley_status st = folder ? train_on_workspace(a, &t, err) : train_on_lines(a, &t, err);
    if (!st)
        st = tokenizer_save(t, a->output, err);
    if (!st)
        fprintf(stderr, "%s: %zu tokens\n", a->output, tokenizer_size(t));
    tokenizer_free(t);
    return st;
}
