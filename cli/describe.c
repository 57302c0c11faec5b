/* describe.c: see describe.h. Proof: tests/e2e/pages.t. */
#include "cli/describe.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

bool describe_asked(int argc, char **argv)
{
    return argc == 2 && strcmp(argv[1], "--describe") == 0;
}

/* argp's convention: before a vertical tab what stands above the options, after it what stands
 * below. */
static void write_doc(struct json_writer *j, const char *doc)
{
    struct str all = str_of(doc ? doc : "");
    const char *cut = doc ? strchr(doc, '\v') : NULL;
    jw_key(j, "doc");
    jw_text(j, cut ? (struct str){all.s, (size_t)(cut - doc)} : all);
    jw_key(j, "notes");
    jw_textz(j, cut ? cut + 1 : "");
}

/* One option and the aliases that follow it; returns the first entry after them. */
static const struct argp_option *write_option(struct json_writer *j,
                                              const struct argp_option *o)
{
    const char letter[2] = {o->key > ' ' && o->key < 127 ? (char)o->key : 0, 0};
    const struct argp_option *named = o;
    jw_object(j);
    jw_key(j, "short"), jw_textz(j, letter);
    jw_key(j, "argument"), jw_textz(j, o->arg ? o->arg : "");
    jw_key(j, "doc"), jw_textz(j, o->doc ? o->doc : "");
    jw_key(j, "long"), jw_array(j);
    do
        jw_textz(j, named->name);
    while ((++named)->name && (named->flags & OPTION_ALIAS));
    jw_array_end(j), jw_object_end(j);
    return named;
}

static void write_options(struct json_writer *j, const struct argp *argp)
{
    const struct argp_option *o = argp->options;
    while (o && (o->name || o->doc)) {
        if (o->flags & OPTION_HIDDEN) {
            o++;
        } else if (o->name) {
            o = write_option(j, o);
        } else {
            jw_object(j);
            jw_key(j, "header"), jw_textz(j, o->doc);
            jw_object_end(j);
            o++;
        }
    }
    for (const struct argp_child *c = argp->children; c && c->argp; c++)
        write_options(j, c->argp);
}

static void begin(struct json_writer *j, struct strbuf *text, const char *name, const char *doc)
{
    sb_init(text);
    jw_init(j, text, true);
    jw_object(j);
    jw_key(j, "name"), jw_textz(j, name);
    write_doc(j, doc);
}

static int end(struct json_writer *j, struct strbuf *text)
{
    jw_object_end(j);
    int status = text->failed || printf("%s\n", text->s) < 0 ? 1 : 0;
    sb_deinit(text);
    return status;
}

int describe_argp(const char *name, const struct argp *argp)
{
    struct strbuf text;
    struct json_writer j;
    begin(&j, &text, name, argp->doc);
    jw_key(&j, "arguments"), jw_textz(&j, argp->args_doc ? argp->args_doc : "");
    jw_key(&j, "options"), jw_array(&j);
    write_options(&j, argp);
    jw_array_end(&j);
    return end(&j, &text);
}

int describe_verbs(const char *name, const char *doc, const struct verb *list)
{
    struct strbuf text;
    struct json_writer j;
    begin(&j, &text, name, doc);
    jw_key(&j, "verbs"), jw_array(&j);
    for (const struct verb *v = list; v->name; v++) {
        jw_object(&j);
        jw_key(&j, "name"), jw_textz(&j, v->name);
        jw_key(&j, "summary"), jw_textz(&j, v->summary);
        jw_object_end(&j);
    }
    jw_array_end(&j);
    return end(&j, &text);
}
