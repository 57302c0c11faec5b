/* plugin.h: a base model as a shared library: three functions, which Medley finds by name.
 *
 * A plugin is a .so that defines medley_plugin_open, medley_plugin_predict and
 * medley_plugin_close. It is named in medley.yaml (kind: plugin, library: my.so) and needs this
 * header alone: nothing of Medley is linked. examples/plugin_bm25.c is a whole one;
 * docs/own-models.md tells the story.
 *
 * Version. The header renames the functions to ..._1: a library built for another version of
 * the interface lacks them and is refused by name. Structs never change within a version.
 *
 * Ownership. Everything that Medley passes is borrowed for the time of the call: copy what is
 * kept. The handle is the plugin's, made by open and released by close.
 *
 * Errors. 0 is success; anything else is a failure, told by a text in message[0..size) (UTF-8,
 * terminated; it may stay empty). A failure in training ends the stage with that text; one while
 * serving makes the model missing for that request. A plugin must not exit, abort, raise a
 * signal or let a C++ exception out: it runs inside of Medley's process, which cannot survive
 * its crash. Code that is not trusted that far belongs behind kind: remote.
 *
 * Threads. predict may run in several threads at a time on one handle. open and close are not
 * called while another call on the same handle runs; several handles may exist at a time. */
#ifndef MEDLEY_PLUGIN_H
#define MEDLEY_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MEDLEY_PLUGIN_VERSION 1
#define medley_plugin_open medley_plugin_open_1
#define medley_plugin_predict medley_plugin_predict_1
#define medley_plugin_close medley_plugin_close_1

#if defined(__GNUC__)
#define MEDLEY_PLUGIN_API __attribute__((visibility("default")))
#else
#define MEDLEY_PLUGIN_API
#endif

/* UTF-8 bytes, not terminated; {NULL or "", 0} is empty. */
typedef struct medley_plugin_text {
    const char *s;
    size_t n;
} medley_plugin_text;

/* A query and one candidate product; any text but the query may be empty. */
typedef struct medley_plugin_pair {
    medley_plugin_text query, locale;
    medley_plugin_text title, description, bullets, brand, color, category;
} medley_plugin_pair;

typedef struct medley_plugin_setup {
    /* The plugin's own folder, which exists. Training leaves there what a later open needs:
     * plain files, no folders, not called plugin.json, cost.json, *.jsonl or .anything. They
     * travel with the bundle. */
    const char *folder;
    /* `settings:` of medley.yaml: key, value, key, value, ..., NULL; texts as written. */
    const char *const *settings;
    const char *const *classes; /* [n_classes] names, in the order of probabilities */
    size_t n_classes;           /* K, 2 to 16 */
    uint64_t seed;              /* of all that is random: results repeat for a seed */
    /* To be trained: labelled pairs, labels[n_pairs] in [0, K). n_pairs 0 (both NULL): use what
     * training left in the folder; a plugin that learns nothing finds it empty. Training is
     * done once a fold, each time on other pairs and in another folder. */
    const medley_plugin_pair *pairs;
    const uint8_t *labels;
    size_t n_pairs;
} medley_plugin_setup;

typedef struct medley_plugin medley_plugin; /* the plugin defines it */

/* Makes a handle; *out is looked at only when 0 is returned. After training, Medley closes the
 * handle and opens the folder again without pairs: what is not in the folder is lost. */
MEDLEY_PLUGIN_API int medley_plugin_open(const medley_plugin_setup *setup, medley_plugin **out,
                                         char *message, size_t size);

/* probabilities[n * K], row by row: at least 0, each row summing to 1 within 0.001; or a row of
 * NaN where the model has no answer for the pair (a locale that it does not know). n is at least
 * 1 and at most 1000. Anything else is refused in training, and missing in serving. */
MEDLEY_PLUGIN_API int medley_plugin_predict(const medley_plugin *plugin,
                                            const medley_plugin_pair *pairs, size_t n,
                                            float *probabilities, char *message, size_t size);

MEDLEY_PLUGIN_API void medley_plugin_close(medley_plugin *plugin);

#ifdef __cplusplus
}
#endif
#endif
