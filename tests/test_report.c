/* test_report.c: the page from made-up measurements: figures, escaping, well-formed and without
 * outside references, also when the files hold odd values; absent and broken files; axes and
 * numbers. */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include "report/report.h"
#include "report/svg.h"
#include "tap.h"

#define PER_CLASS                                                                          \
    "\"per_class\":{\"E\":{\"precision\":0.8,\"recall\":0.7,\"f1\":0.75,\"support\":120}," \
    "\"S&T\":{\"precision\":0.5,\"recall\":0.6,\"f1\":0.55,\"support\":80}},"              \
    "\"confusion\":[[84,36],[32,48]]"
#define METRICS(a, m, w, l)                                                           \
    "\"accuracy\":" a ",\"macro_f1\":" m ",\"weighted_f1\":" w ",\"log_loss\":" l "," \
    "\"ci95\":{\"accuracy\":[0.6,0.7],\"macro_f1\":[0.51,0.69],\"log_loss\":[0.8,0.9]}"

static const char evaluation[] =
    "{\"split\":\"test\",\"n\":12345,\"labels\":[\"E\",\"S&T\"],\"models\":["
    "{\"name\":\"mini<script>alert(1)</script>\",\"kind\":\"lm\"," METRICS(
        "0.66", "0.65", "0.64",
        "0.777") "," PER_CLASS "},"
                 "{\"name\":\"sage\",\"kind\":\"gnn\"," METRICS(
                     "0.61", "0.59", "0.6",
                     "0.9") "," PER_CLASS "}],"
                            "\"ensembles\":[{\"name\":\"full\",\"models\":[\"mini\",\"sage\"]"
                            "," METRICS(
                                "0.71", "0.702", "0.7",
                                "0.8") "," PER_CLASS
                                       "},{\"name\":\"selected\",\"models\":[\"sage\"]"
                                       "," METRICS(
                                           "0.7", "0.69", "0.7",
                                           "0.81") "," PER_CLASS
                                                   "}],\"per_locale\":{\"us\":{\"n\":1000,"
                                                   "\"models\":[{\"name\":\"mini\",\"kind\":"
                                                   "\"lm\","
                                                   "\"accuracy\":0.5,\"macro_f1\":0.4,"
                                                   "\"weighted_f1\":0.45,\"log_loss\":1.1}],"
                                                   "\"ensembles\":[{\"name\":\"selected\","
                                                   "\"confusion\":[[8,2],[3,7]]}]},"
                                                   "\"jp\":{\"n\":20,\"ensembles\":[{\"name\":"
                                                   "\"selected\","
                                                   "\"confusion\":[[9,1],[4,6]]}]}},"
                                                   "\"paired\":[{\"a\":\"full\",\"b\":\"sage\","
                                                   "\"accuracy\":{\"difference\":0.1,\"low\":0."
                                                   "05,"
                                                   "\"high\":0.15,\"p_value\":0.0001},\"macro_"
                                                   "f1\":{\"difference\":-0.02,\"low\":-0.05,"
                                                   "\"high\":0.01,\"p_value\":0.2}}]}";

#define WORTH(v)                                                                  \
    "{\"shapley\":{\"value\":" v ",\"low\":-0.01,\"high\":0.07,\"p_value\":0.1}," \
    "\"leave_one_out\":{\"value\":" v ",\"low\":0.001,\"high\":0.05,\"p_value\":0.04}}"
#define PLAYER(name, v)                                                                        \
    "{\"name\":\"" name                                                                        \
    "\",\"kind\":\"lm\",\"macro_f1\":" WORTH(v) ",\"per_class\":{\"S&T\":" WORTH(              \
        "0.0123") "},\"per_locale\":{\"us\":{\"macro_f1\":" WORTH("0.0234") "}},\"per_band\":" \
                                                                            "{\"2-9\":{"       \
                                                                            "\"macro_"         \
                                                                            "f1\":" WORTH(     \
                                                                                "0."           \
                                                                                "03"           \
                                                                                "4"            \
                                                                                "5") "}}}"
static const char ranking[] =
    "{\"labels\":[\"E\",\"S&T\"],\"n\":12345,\"models\":[{\"name\":\"mini\",\"kind\":\"lm\","
    "\"mean_abs_contribution\":0.371,\"spread\":{\"E\":[-0.5,-0.1,0.05,0.2,0.75],\"S&T\":[-1,0,"
    "0,1,2]},\"sample\":{\"E\":[[0.5,0.9],[-0.25,0.1],[0.1,null]],\"S&T\":[[0.01,0.5]]},"
    "\"ci95\":[0.35,0.39],\"per_class\":{\"E\":0.2,\"S&T\":0."
    "15}},"
    "{\"name\":\"context\",\"kind\":\"context\",\"mean_abs_contribution\":0.05,"
    "\"ci95\":[0.04,0.06],\"per_class\":{\"E\":0.02,\"S&T\":0.03}}],"
    "\"worth\":{\"metric\":\"macro_f1\",\"exact\":true,\"coalitions\":4,\"band_of\":"
    "\"examples\","
    "\"players\":[" PLAYER("mini", "0.0582") "," PLAYER(
        "sage", "-0.004") "]},"
                          "\"pairs\":{\"names\":[\"mini\",\"sage\"],\"gain_lost\":[[null,0.37],"
                          "[0.37,null]],"
                          "\"margin_correlation\":[[1,0.91],[0.91,1]],\"shared_errors\":[[1,0."
                          "5],[0.5,1]],"
                          "\"metric_interaction\":[[null,-0.02],[-0.02,null]],"
                          "\"log_loss_interaction\":[[null,0.02],[0.02,null]],"
                          "\"tree_interaction\":[[1,0.2],[0.2,1]]},"
                          "\"stability\":{\"tree\":{\"seeds\":{\"kendall\":0.8}},"
                          "\"shapley\":{\"macro_f1\":{\"seeds\":{\"kendall\":0.7},\"folds\":{"
                          "\"kendall\":0.25}}}}}";

#define RUN(saved, change)                                                                \
    "{\"evaluations\":" saved ",\"evaluations_full\":4,\"cost_ms\":2,\"cost_ms_full\":5," \
    "\"stopped\":[0.6,0.4],\"against_full\":{\"macro_f1\":{\"value\":" change             \
    ",\"low\":-0.02,\"high\":0.03}}}"
static const char cascade[] =
    "{\"loss\":0.003,\"save\":\"models\",\"stages\":["
    "{\"model\":\"sage\",\"cost_ms\":0.03,\"macro_f1\":0.29,\"thresholds\":{\"E\":0.36,\"S&T\":"
    "null}},"
    "{\"model\":\"mini\",\"cost_ms\":5,\"macro_f1\":0.37,\"thresholds\":{\"E\":0,\"S&T\":0}}],"
    "\"out_of_fold\":" RUN("2", "-0.001") ",\"test\":" RUN(
        "1.9",
        "0.0055") ","
                  "\"curve\":[{\"chosen\":false,\"out_of_fold\":" RUN(
                      "4",
                      "0") ",\"test\":" RUN("4",
                                            "0") "},"
                                                 "{\"chosen\":true,\"out_of_fold\":" RUN(
                                                     "2",
                                                     "-0.001") ",\"test\":" RUN("1.9",
                                                                                "0.0055") "}]}";

#define QUALITY                                                                               \
    "{\"log_loss\":1.01,\"ece\":0.0421,\"classwise_ece\":0.03,\"bins\":[{\"confidence\":0.4," \
    "\"accuracy\":0.5,\"n\":10},{\"confidence\":0.9,\"accuracy\":0.8,\"n\":10}]}"
#define GAIN                                                                                   \
    "{\"macro_f1\":{\"value\":0.03,\"low\":0.01,\"high\":0.05},\"accuracy\":{\"value\":-0.02}" \
    "}"
static const char calibration[] =
    "{\"methods\":[{\"name\":\"none\",\"cross_fitted\":" QUALITY ",\"test\":" QUALITY "},"
    "{\"name\":\"temperature\",\"cross_fitted\":" QUALITY ",\"test\":" QUALITY "}],"
    "\"method\":\"temperature\",\"offsets\":{\"values\":{\"E\":0,\"S&T\":1.7},\"cross_"
    "fitted\":" GAIN ",\"test\":" GAIN
    "},\"costs\":{\"test\":1.25,\"test_most_probable\":1.5}}";

#define WORDS                                                                       \
    "[{\"text\":\"[CLS]\",\"part\":\"frame\",\"values\":{\"E\":0,\"S&T\":0}},"      \
    "{\"text\":\"usb<b>\",\"part\":\"query\",\"values\":{\"E\":0.5,\"S&T\":-0.5}}," \
    "{\"text\":\"shoe\",\"part\":\"product\",\"values\":{\"E\":-0.125,\"S&T\":0.125}}]"
static const char hardest[] =
    "{\"queries\":[{\"query\":\"usb & "
    "c\",\"locale\":\"us\",\"n\":3,\"accuracy\":0.33,\"log_loss\":4."
    "18,\"worst\":{\"product\":\"B1\",\"title\":\"Shoe <1>\",\"truth\":\"S&T\",\"label\":\"E\","
    "\"probability\":0.015},\"explanation\":{\"bundle\":\"b\",\"query\":\"usb & "
    "c\",\"product\":\"B1\","
    "\"label\":\"E\",\"known_product\":true,\"probabilities\":{\"E\":0.7,\"S&T\":0.3},"
    "\"margins\":{"
    "\"E\":0.5,\"S&T\":-0.25},\"base\":{\"E\":0.25,\"S&T\":0},\"cascade\":{\"stage\":1,\"of\":"
    "2,"
    "\"model\":\"mini\",\"not_asked\":[\"sage\"]},\"models\":[{\"name\":\"mini\",\"kind\":"
    "\"lm\","
    "\"answered\":true,\"probabilities\":{\"E\":0.8125,\"S&T\":0.1875},\"contributions\":{"
    "\"E\":0."
    "25,\"S&T\":-0.25}},{\"name\":\"sage\",\"kind\":\"gnn\",\"answered\":false,"
    "\"probabilities\":"
    "null,\"contributions\":{\"E\":0,\"S&T\":0}}],\"interactions\":[{\"players\":[\"mini\","
    "\"sage\"],"
    "\"values\":{\"E\":-0.0123,\"S&T\":0.01}}],\"neighbours\":[{\"models\":[\"sage\"],"
    "\"linked\":true,"
    "\"query\":{\"known\":true,\"count\":1,\"nearest\":[{\"kind\":\"product\",\"id\":\"B2\","
    "\"text\":"
    "\"Boot & co\",\"relations\":[\"listing\",\"clicks\"],\"weight\":2,\"likeness\":0.61}]},"
    "\"product\":{\"known\":false}}],\"tokens\":{\"model\":\"mini\",\"output\":{\"E\":1.5,\"S&"
    "T\":-1.5},"
    "\"masked\":{\"E\":1.125,\"S&T\":-1.125},\"words\":" WORDS "}}}]}";

static const char selection[] =
    "{\"labels\":[\"E\",\"S&T\"],\"metric\":\"macro_f1\",\"budget\":{\"latency_ms\":20,"
    "\"memory_bytes\":null,\"top\":null},\"machine\":{\"cpu\":\"Test "
    "\\\"CPU\\\"\",\"cores\":2},"
    "\"costs\":[{\"name\":\"mini\",\"latency_ms\":30,\"batch_ms_per_pair\":9,"
    "\"memory_bytes\":95000000},{\"name\":\"sage\",\"latency_ms\":1.5,\"batch_ms_per_pair\":0."
    "2,"
    "\"memory_bytes\":1200}],\"subsets\":["
    "{\"models\":[\"mini\"],\"macro_f1\":0.65,\"accuracy\":0.66,\"log_loss\":0.78,"
    "\"latency_ms\":30,\"memory_bytes\":95000000,\"pareto\":true,\"within_budget\":false},"
    "{\"models\":[\"sage\"],\"macro_f1\":0.59,\"accuracy\":0.61,\"log_loss\":0.9,"
    "\"latency_ms\":1.5,\"memory_bytes\":1200,\"pareto\":true,\"within_budget\":true},"
    "{\"models\":[\"mini\",\"sage\"],\"macro_f1\":0.64,\"accuracy\":0.65,\"log_loss\":0.79,"
    "\"latency_ms\":31.5,\"memory_bytes\":95001200,\"pareto\":false,\"within_budget\":false}],"
    "\"selected\":[\"sage\"],\"full\":{\"macro_f1\":0.64,\"accuracy\":0.65,\"log_loss\":0.79},"
    "\"chosen\":{\"macro_f1\":0.59,\"accuracy\":0.61,\"log_loss\":0.9},"
    "\"lost\":{\"macro_f1\":0.05,\"accuracy\":0.04,\"log_loss\":-0.11},"
    "\"choices\":{\"best\":[\"mini\"],\"knee\":[\"sage\"],\"cheapest\":[\"sage\"]},"
    "\"search\":{\"optimism\":0.021},"
    "\"drop\":[{\"name\":\"sage\",\"macro_f1\":{\"value\":-0.0356,\"low\":-0.05,\"high\":-0.01}"
    ","
    "\"latency_ms\":-1.5,\"memory_bytes\":-1200}],\"add\":[],"
    "\"when_down\":[{\"down\":[],\"macro_f1\":0.59,\"macro_f1_ci95\":[0.5,0.6],\"accuracy\":0."
    "6,"
    "\"refitted_macro_f1\":0.58},{\"down\":[\"sage\"],\"macro_f1\":0.233,\"macro_f1_ci95\":[0."
    "2,0.3],"
    "\"accuracy\":0.5,\"refitted_macro_f1\":null}]}";

static const char summary[] =
    "{\"examples\":7831,\"queries\":2370,\"products\":9651,\"labels\":{\"E\":5000,\"S&T\":2831}"
    ","
    "\"locales\":{\"us\":7000,\"jp\":831},\"splits\":{\"train\":6415,\"test\":1416},"
    "\"relations\":{\"co-listed\":48211},\"issues\":[{\"kind\":\"unknown "
    "product\",\"count\":12,"
    "\"handled\":\"kept with empty text\",\"first\":[{\"file\":\"examples.csv\",\"line\":1042,"
    "\"detail\":\"product 'B0<b>' is \\u202e unknown\"}]}]}";

enum { TEXTS = 7, FILES };
static const char *const texts[TEXTS] = {evaluation, ranking,     selection, summary,
                                         cascade,    calibration, hardest};

struct files {
    const char *folder;
    char *paths[FILES]; /* as texts, then the page */
    struct report_input input;
};

static void open_files(struct files *f)
{
    static const char *const names[] = {"evaluation.json", "ranking.json", "selection.json",
                                        "summary.json",    "cascade.json", "calibration.json",
                                        "hardest.json",    "index.html"};
    f->folder = tap_folder();
    for (size_t i = 0; i < FILES; i++)
        f->paths[i] = path_join(f->folder, names[i]);
    for (size_t i = 0; i < TEXTS; i++)
        file_write(f->paths[i], texts[i], strlen(texts[i]), NULL);
    f->input = (struct report_input){.evaluation = f->paths[0],
                                     .ranking = f->paths[1],
                                     .selection = f->paths[2],
                                     .summary = f->paths[3],
                                     .cascade = f->paths[4],
                                     .calibration = f->paths[5],
                                     .hardest = f->paths[6],
                                     .title = "Shop & \"Co\" <1>",
                                     .bundle = "abc123",
                                     .created = "2026-01-02"};
}

static void close_files(struct files *f)
{
    remove_tree(f->folder, NULL);
    for (size_t i = 0; i < FILES; i++)
        mem_free(f->paths[i]);
}

static char *page_of(const struct files *f)
{
    char *html = NULL;
    size_t n = 0;
    medley_error err = {0};
    medley_status st = report_write(&f->input, f->paths[TEXTS], &err);
    if (st != MEDLEY_OK || file_read(f->paths[TEXTS], 1 << 24, &html, &n, &err) != MEDLEY_OK)
        printf("# %s\n", err.message);
    return html;
}

/* ---- well-formedness: every tag is closed in order, no bare '<', every '&' starts a reference
 * ---- */

static const char *malformed(const char *html)
{
    static char problem[128];
    char stack[64][16];
    size_t depth = 0;
    for (const char *p = html; *p;) {
        if (*p == '&' &&
            strspn(p + 1, "#abcdefghijklmnopqrstuvwxyz0123456789") == strcspn(p + 1, ";") &&
            p[1] != ';') {
            p++;
            continue;
        }
        if (*p == '&' || *p == '>') {
            snprintf(problem, sizeof problem, "bare %.40s", p);
            return problem;
        }
        if (*p++ != '<')
            continue;
        if (strncmp(p, "!DOCTYPE html>", 14) == 0 || strncmp(p, "meta ", 5) == 0) {
            p = strchr(p, '>') + 1;
            continue;
        }
        bool closing = *p == '/';
        p += closing;
        size_t n = strcspn(p, " />\n");
        char name[16];
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        p += n;
        bool quoted = false;
        while (*p && (quoted || *p != '>')) {
            quoted ^= *p == '"';
            if (*p == '<')
                return "'<' in a tag";
            p++;
        }
        bool empty = p[-1] == '/';
        if (closing && (depth == 0 || strcmp(stack[--depth], name) != 0)) {
            snprintf(problem, sizeof problem, "</%s> closes nothing", name);
            return problem;
        }
        if (!closing && !empty && depth < 64)
            memcpy(stack[depth++], name, sizeof name);
        if (strcmp(name, "style") == 0 && !closing)
            p = strstr(p, "</style>") - 1; /* CSS holds '>' */
        p++;
    }
    return depth == 0 ? NULL : "a tag is left open";
}

static bool self_contained(const char *html)
{
    return !strstr(html, "<script") && !strstr(html, "://") && !strstr(html, "src=") &&
           !strstr(html, "url(") && !strstr(html, "@import");
}

static void contains(const char *html, const char *text, const char *why)
{
    ok(html && strstr(html, text) != NULL, "%s", why);
}

static void test_page(void)
{
    struct files f;
    open_files(&f);
    char *html = page_of(&f);
    if (!ok(html != NULL, "a page is written"))
        return;
    const char *problem = malformed(html);
    ok(!problem, "it is well-formed %s", problem ? problem : "");
    ok(utf8_valid(str_of(html), NULL), "it is UTF-8");
    ok(self_contained(html), "it needs no network and no script");
    contains(html, "<h1>Shop &amp; &quot;Co&quot; &lt;1&gt;</h1>", "the title is escaped");
    contains(html, "mini&lt;script&gt;alert(1)&lt;/script&gt;</th>", "names are escaped");
    contains(html, "<code>abc123</code>", "the bundle is named");
    contains(html, "12,345 pairs", "counts have separators");
    contains(html,
             "<b>0.702</b><small>0.510\xE2\x80\x93"
             "0.690</small>",
             "the best macro-F1 is bold, with its interval");
    contains(html, "<b>0.777</b>", "the best log-loss is the lowest");
    ok(!strstr(html, "<b>0.650</b>"), "what is not the best is not bold");
    contains(html, "ensemble of 2", "ensembles say how many models they have");
    contains(html, "&lt; 0.001", "small p-values");
    contains(html,
             "\xE2\x88\x92"
             "0.020",
             "signed differences");
    contains(html, "E taken for S&amp;T: 36 of 120 (30%)", "confusion counts and shares");
    contains(html, "The errors of \xE2\x80\x9Cselected\xE2\x80\x9D",
             "of the selected ensemble");
    contains(html, ">0.371</text>", "ranking bars carry their figure");
    contains(html, "sage <em>chosen</em>", "the chosen subset is marked");
    contains(html,
             "macro-F1 \xE2\x88\x92"
             "0.050, log-loss +0.110",
             "what the choice costs");
    contains(html, "mini: macro-F1 0.650, 30.0 ms, over the budget",
             "points tell what they are");
    contains(html, "Test &quot;CPU&quot;, 2 cores", "the machine");
    contains(html, "95.0 MB", "sizes have units");
    contains(html, "mini, E: half of the pairs -0.100 to 0.200, 90% -0.500 to 0.750", "spread");
    contains(html, "mini: 0.0582 (-0.0100 to 0.0700)", "worth with its interval");
    contains(html, "agree with Kendall\xE2\x80\x99s tau 0.25", "stability");
    contains(html, "mini and sage: 0.37", "redundancy");
    contains(html, "F1 of S&amp;T</th>", "worth per class");
    contains(html, "the knee of the front: sage", "choices");
    contains(html, "without sage</th><td class=\"n\">-0.0356</td>", "one model less");
    contains(html, "<td class=\"n\">0.233</td>", "models that are down");
    contains(html, "needs 1.90 of 4 models", "what the cascade needs");
    contains(html, "<td>E 0.36</td>", "its thresholds");
    contains(html, "test split: 52% saved, macro-F1 0.0055", "its curve");
    contains(html, "as it is: said 0.400, true 0.500", "reliability");
    contains(html, "class=\"s4\"", "dots of the swarm are coloured by the model's probability");
    contains(html, "<figcaption>jp: 20 pairs</figcaption>", "confusion in each locale");
    contains(html, "Shoe &lt;1&gt; is judged <b>S&amp;T</b>; the ensemble says <b>E</b>",
             "the worst pair of a hard query");
    contains(html, "Decided at stage 1 of 2; not asked: sage.", "at its stage");
    contains(html, "<span class=\"w p5\" title=\"0.5000\">usb&lt;b&gt;</span>", "words for it");
    contains(html, "<span class=\"w m1\" title=\"-0.1250\">shoe</span>", "and against it");
    contains(html,
             "<b>mini</b> and <b>sage</b> move E by \xE2\x88\x92"
             "0.0123",
             "together");
    contains(html, "Boot &amp; co <small>listing, clicks, alike 0.61</small>", "neighbours");
    contains(html, "sage (not asked)</th>", "who was not asked");
    contains(html, "takes 1.250 a pair on the test split", "costs of errors");
    contains(html, "<code>examples.csv:1042</code> product &#39;B0&lt;b&gt;&#39;",
             "import issues");
    contains(html, "<h3>us <span class=\"muted\">1,000 pairs</span></h3>", "locales");
    mem_free(html);
    close_files(&f);
}

static void test_absent(void)
{
    struct files f;
    open_files(&f);
    char missing[] = "/nonexistent/ranking.json";
    f.input = (struct report_input){.ranking = missing};
    char *html = page_of(&f);
    ok(html && !malformed(html), "a page of nothing is well-formed");
    contains(html, "<h1>Medley report</h1>", "it has a title");
    contains(html, "The models have not been evaluated yet.", "it says what is missing");
    contains(html, "The models have not been ranked yet.", "also when a file does not exist");
    mem_free(html);
    close_files(&f);
}

static void test_broken(void)
{
    struct files f;
    open_files(&f);
    medley_error err = {0};
    mem_free(page_of(&f));
    file_write(f.paths[1], "{\"models\":[", 11, NULL);
    ok(report_write(&f.input, f.paths[TEXTS], &err) == MEDLEY_EFORMAT, "refused: %s",
       err.message);
    file_write(f.paths[1], "[1]", 3, NULL);
    ok(report_write(&f.input, f.paths[TEXTS], &err) == MEDLEY_EFORMAT, "refused: %s",
       err.message);
    char *old = NULL;
    size_t n = 0;
    ok(file_read(f.paths[TEXTS], 1 << 24, &old, &n, NULL) == MEDLEY_OK &&
           strstr(old, "</html>"),
       "the old page is whole");
    mem_free(old);
    f.input.ranking = NULL;
    ok(report_write(&f.input, "/nonexistent/x/index.html", &err) == MEDLEY_EIO, "refused: %s",
       err.message);
    close_files(&f);
}

/* Replaces values at random by ones of another kind or size; the page must come out all the
 * same. */
static char *with_odd_values(const char *text, struct rng *r)
{
    static const char *const odd[] = {"null", "\"x<&\\\"\"", "-3",  "1e300",   "[]",
                                      "{}",   "true",        "0.5", "-1e-300", "[[1],2]"};
    struct strbuf b;
    sb_init(&b);
    while (*text) {
        bool value = *text == ':' || *text == ',' || *text == '[';
        sb_addc(&b, *text++);
        size_t n = strspn(text, "-+.eE0123456789");
        if (value && n > 0 && rng_below(r, 12) == 0) {
            sb_addz(&b, odd[rng_below(r, sizeof odd / sizeof odd[0])]);
            text += n;
        }
    }
    return sb_steal(&b);
}

static void test_odd_values(void)
{
    struct files f;
    struct rng r;
    size_t bad = 0;
    open_files(&f);
    rng_init(&r, 23, 0);
    for (int round = 0; round < 150; round++) {
        for (size_t i = 0; i < TEXTS; i++) {
            char *odd = with_odd_values(texts[i], &r);
            file_write(f.paths[i], odd, strlen(odd), NULL);
            mem_free(odd);
        }
        char *html = page_of(&f);
        const char *problem = html ? malformed(html) : "no page";
        if (problem || strstr(html, "=\"nan") || strstr(html, "=\"inf")) {
            bad++;
            printf("# %s\n", problem ? problem : "not a number in an attribute");
        }
        mem_free(html);
    }
    ok(bad == 0, "odd values of 150 pages do no harm (seed 23; %zu do)", bad);
    close_files(&f);
}

static void test_memory(void)
{
    struct files f;
    size_t n = 0;
    medley_status st = MEDLEY_ENOMEM;
    open_files(&f);
    for (; n < 5000 && st == MEDLEY_ENOMEM; n++) {
        mem_fail_after(n);
        st = report_write(&f.input, f.paths[TEXTS], NULL);
        mem_fail_after(SIZE_MAX);
    }
    ok(st == MEDLEY_OK && n > 40, "each of %zu allocations may fail", n - 1);
    close_files(&f);
}

/* ---- svg ---- */

static const char *number(double v, int decimals)
{
    static char text[NUMBER_TEXT];
    return number_text(text, v, decimals);
}

static void test_svg(void)
{
    struct strbuf b;
    sb_init(&b);
    html_escape(&b, STR("<a href=\"x\">'&\x01\xFF\xC3\xA9</a>"));
    is_text(b.s,
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\xEF\xBF\xBD\xEF\xBF\xBD\xC3\xA9&lt;/a&gt;",
            "escaping");
    sb_clear(&b);
    svg_text(&b, 1, 2, "end", "name", "a very long name of a model", 80);
    ok(strstr(b.s, "\xE2\x80\xA6<title>a very long name of a model</title>") != NULL,
       "a long text is cut and told in full: %s", b.s);
    sb_deinit(&b);
    is_text(number(-0.0001, 2), "0.00", "no negative zero");
    is_text(number(NAN, 2), "\xE2\x80\x93", "not a number is a dash");
    is_text(number(1234.5678, 2), "1234.57", "decimals");

    struct rng r;
    size_t bad = 0;
    rng_init(&r, 31, 0);
    for (int i = 0; i < 20000; i++) {
        double scale = pow(10, (double)rng_below(&r, 24) - 12), ticks[AXIS_MAX_TICKS];
        double low = (rng_uniform(&r) - 0.5) * scale;
        double high = low + rng_uniform(&r) * scale * (rng_below(&r, 4) ? 1 : 1e-3);
        struct axis a = axis_linear(low, high, 0, 100, 5);
        size_t n = axis_ticks(&a, ticks);
        double slack = 1e-6 * (a.high - a.low);
        bad += n < 2 || n > 13 || a.low > low + slack || a.high < high - slack ||
               ticks[0] < a.low - slack || ticks[n - 1] > a.high + slack || !(a.step > 0);
    }
    ok(bad == 0, "20000 random ranges get 2 to 13 ticks within their axis (seed 31; %zu not)",
       bad);
    struct axis a = axis_linear(3, 3, 0, 10, 5);
    ok(a.low < 3 && a.high > 3, "a single value gets room");
    a = axis_linear(NAN, INFINITY, 0, 10, 5);
    ok(isfinite(a.low) && a.high > a.low, "nonsense gets an axis");
    double ticks[AXIS_MAX_TICKS];
    a = axis_log(0.4, 120, 0, 100);
    size_t n = axis_ticks(&a, ticks);
    ok(n == 8 && fabs(ticks[0] - 0.5) < 1e-12 && fabs(ticks[n - 1] - 100) < 1e-9,
       "logarithmic ticks at 1, 2, 5");
    ok(fabs(axis_at(&a, 0.001)) < 1e-9 && fabs(axis_at(&a, 1e9) - 100) < 1e-9, "clamped");
}

int main(void)
{
    test_page();
    test_absent();
    test_broken();
    test_odd_values();
    test_memory();
    test_svg();
    return tap_done();
}
