/* issues.c: what import noticed, and summary.json. Tested by test_import.c. */
#include "data/importer.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

static const struct {
    const char *kind, *handled;
} issue_texts[ISSUE_COUNT] = {
#define ISSUE_TEXT(name, kind, handled) {kind, handled},
    ISSUE_LIST(ISSUE_TEXT)
#undef ISSUE_TEXT
};

void issue_add(struct importer *im, enum issue_kind kind, const struct table *t,
               const char *format, ...)
{
    struct issue *issue = &im->issues[kind];
    issue->count++;
    if (issue->n == ISSUES_SHOWN)
        return;
    struct strbuf detail;
    sb_init(&detail);
    va_list args;
    va_start(args, format);
    sb_addvf(&detail, format, args);
    va_end(args);
    size_t i = issue->n++;
    issue->first[i].file = mem_strdup(table_path(t));
    issue->first[i].line = table_line(t);
    issue->first[i].detail =
        sb_steal(&detail); /* NULL, without memory: the count still stands */
    sb_deinit(&detail);
}

void issues_deinit(struct importer *im)
{
    for (size_t k = 0; k < ISSUE_COUNT; k++) {
        for (size_t i = 0; i < im->issues[k].n; i++) {
            mem_free(im->issues[k].first[i].detail);
            mem_free(im->issues[k].first[i].file);
        }
        im->issues[k].n = 0;
    }
}

static void write_count(struct json_writer *w, const char *key, uint64_t n)
{
    jw_key(w, key);
    jw_i64(w, (int64_t)n);
}

static void write_counts(struct json_writer *w, const struct importer *im)
{
    uint64_t labels[MAX_CLASSES] = {0}, splits[2] = {0}, locales[256] = {0};
    for (size_t i = 0; i < im->n_examples; i++) {
        labels[im->example_label[i]]++;
        splits[im->example_split[i]]++;
        locales[im->query_rows[im->example_query[i]].locale]++;
    }
    jw_key(w, "labels");
    jw_object(w);
    for (size_t i = 0; i < im->n_labels; i++)
        write_count(w, im->labels[i].name, labels[i]);
    jw_object_end(w);
    jw_key(w, "locales");
    jw_object(w);
    struct strbuf tag;
    sb_init(&tag);
    for (uint32_t i = 0; i < map_count(im->locales); i++) {
        struct str name = map_key(im->locales, i);
        sb_clear(&tag);
        sb_add(&tag, name.s, name.n);
        write_count(w, tag.failed ? "?" : tag.s, locales[i]);
    }
    sb_deinit(&tag);
    jw_object_end(w);
    jw_key(w, "splits");
    jw_object(w);
    write_count(w, "train", splits[SPLIT_TRAIN]);
    write_count(w, "test", splits[SPLIT_TEST]);
    jw_object_end(w);
}

static void write_issue(struct json_writer *w, size_t kind, const struct issue *issue)
{
    jw_object(w);
    jw_key(w, "kind");
    jw_textz(w, issue_texts[kind].kind);
    write_count(w, "count", issue->count);
    jw_key(w, "handled");
    jw_textz(w, issue_texts[kind].handled);
    jw_key(w, "first");
    jw_array(w);
    for (size_t i = 0; i < issue->n; i++) {
        jw_object(w);
        jw_key(w, "file");
        jw_textz(w, issue->first[i].file);
        write_count(w, "line", issue->first[i].line);
        jw_key(w, "detail");
        jw_textz(w, issue->first[i].detail);
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_object_end(w);
}

medley_status summary_write(const struct importer *im, const char *folder, medley_error *err)
{
    struct strbuf text;
    struct json_writer w;
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    write_count(&w, "examples", im->n_examples);
    write_count(&w, "queries", map_count(im->queries));
    write_count(&w, "products", importer_products(im));
    write_counts(&w, im);
    if (im->sources) {
        struct strbuf name;
        sb_init(&name);
        jw_key(&w, "sources"), jw_object(&w);
        for (uint32_t i = 0; i < map_count(im->sources); i++) {
            struct str key = map_key(im->sources, i);
            sb_clear(&name);
            sb_add(&name, key.s, key.n);
            write_count(&w, name.failed ? "?" : name.s, im->source_queries[i]);
        }
        jw_object_end(&w);
        sb_deinit(&name);
    }
    jw_key(&w, "relations");
    jw_object(&w);
    for (size_t i = 0; i < RELATIONS_BUILT; i++)
        if (im->relations[i].n)
            write_count(&w, built_relations[i].name, im->relations[i].n);
    for (size_t i = 0; i < im->n_own; i++)
        write_count(&w, im->own[i].name, im->own[i].edges.n);
    jw_object_end(&w);
    jw_key(&w, "issues");
    jw_array(&w);
    for (size_t i = 0; i < ISSUE_COUNT; i++)
        if (im->issues[i].count)
            write_issue(&w, i, &im->issues[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    sb_addc(&text, '\n');
    char *path = path_join(folder, "summary.json");
    medley_status st = MEDLEY_OK;
    if (text.failed || !path)
        st = fail_memory(err, "summary.json");
    else
        st = file_write(path, text.s, text.n, err);
    mem_free(path);
    sb_deinit(&text);
    return st;
}
