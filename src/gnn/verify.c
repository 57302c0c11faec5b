/* verify.c: see verify.h. */
#include "gnn/verify_private.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static medley_status open_arrays(const char *folder, const char *name, struct st_file **out,
                                 medley_error *err)
{
    char *path = path_join(folder, name);
    medley_status st = path ? st_open(path, out, err) : fail_memory(err, "a path");
    mem_free(path);
    return st;
}

static const struct st_entry *recorded_logits(const struct verified *v)
{
    const struct st_entry *e = st_find(v->outputs, "logits_f64");
    return e ? e : st_find(v->outputs, "logits_f32");
}

/* ---- comparisons ---- */

static struct tensor *activated(struct verified *v, struct tensor *h)
{
    if (v->leaky)
        return op_add(&v->tape, op_scale(&v->tape, op_activation(&v->tape, h, ACT_RELU), 0.99f),
                      op_scale(&v->tape, h, 0.01f));
    return v->activation == ACT_NONE ? h : op_activation(&v->tape, h, v->activation);
}

static medley_status run(struct verified *v, double *loss, medley_error *err)
{
    tape_reset(&v->tape, true, 0);
    struct tensor *h = v->input = tape_input(&v->tape, v->r.x, v->r.nodes, v->r.in, true);
    for (unsigned i = 0; i < v->n_layers && h; i++) {
        h = v->hidden[i] = v->ops->forward(&v->tape, &v->layers[i], h, &v->r.b);
        if (i + 1 < v->n_layers)
            h = activated(v, h);
    }
    struct tensor *y = op_softmax_loss(&v->tape, h, v->r.label, NULL, 0);
    medley_status st = tape_backward(&v->tape, y, 1, err);
    if (!st)
        *loss = (double)y->value[0];
    return st;
}

static float *reference(const struct st_entry *e, size_t count)
{
    float *values =
        e && e->count == count ? mem_alloc(count ? count : 1, sizeof *values) : NULL;
    if (values && !st_to_float(e, values)) {
        mem_free(values);
        values = NULL;
    }
    return values;
}

static void compare(struct verified *v, const struct st_entry *e, const float *got, size_t n,
                    double floor, double tolerance, const char *name)
{
    float *wanted = reference(e, n);
    checks_add(v->checks, wanted ? relative_error(got, wanted, n, floor) : INFINITY, tolerance,
               "%s", name);
    mem_free(wanted);
}

static void check_outputs(struct verified *v)
{
    const struct st_file *f = v->outputs;
    for (unsigned i = 0; i < v->n_layers; i++) {
        char name[32];
        struct tensor *h = v->hidden[i];
        snprintf(name, sizeof name, "hidden_%u", i + 1);
        if (st_find(f, name))
            compare(v, st_find(f, name), h->value, h->rows * h->cols, 0, GNN_OUTPUT_TOLERANCE,
                    name);
    }
    struct tensor *logits = v->hidden[v->n_layers - 1];
    compare(v, recorded_logits(v), logits->value, logits->rows * logits->cols, 0,
            GNN_OUTPUT_TOLERANCE, "logits");
}

static double largest(const struct st_file *f)
{
    double top = 0;
    for (size_t i = 0; i < st_count(f); i++) {
        float *values = reference(st_at(f, i), st_at(f, i)->count);
        for (size_t k = 0; values && k < st_at(f, i)->count; k++)
            top = fmax(top, fabs((double)values[k]));
        mem_free(values);
    }
    return top;
}

static medley_status check_gradients(struct verified *v, medley_error *err)
{
    struct st_file *f = NULL;
    char *path = path_join(v->folder, "grads.safetensors");
    bool there = path && access(path, F_OK) == 0;
    mem_free(path);
    if (!there)
        return MEDLEY_OK;
    medley_status st = open_arrays(v->folder, "grads.safetensors", &f, err);
    if (st)
        return st;
    double floor = largest(f) / 100;
    for (size_t i = 0; i < v->params.count; i++) {
        const struct param *p = &v->params.items[i];
        char name[96];
        snprintf(name, sizeof name, "gradient of %.70s", p->name);
        compare(v, st_find(f, p->name), v->grads + p->offset, p->rows * p->cols, floor,
                GNN_GRADIENT_TOLERANCE, name);
    }
    if (st_find(f, "input.x"))
        compare(v, st_find(f, "input.x"), v->input->grad, v->r.nodes * v->r.in, floor,
                GNN_GRADIENT_TOLERANCE, "gradient of input.x");
    st_close(f);
    return MEDLEY_OK;
}

static medley_status load(struct verified *v, medley_error *err)
{
    char *path = path_join(v->folder, "config.json");
    medley_status st = path ? json_load(path, &v->config, err) : fail_memory(err, "a path");
    mem_free(path);
    if (!st)
        st = verify_read_config(v, err);
    if (!st)
        st = open_arrays(v->folder, "graph.safetensors", &v->graph, err);
    if (!st)
        st = open_arrays(v->folder, "model.safetensors", &v->model, err);
    if (!st)
        st = open_arrays(v->folder, "outputs.safetensors", &v->outputs, err);
    if (!st && !(recorded_logits(v) && recorded_logits(v)->dims == 2))
        st = fail(err, MEDLEY_EFORMAT,
                  "%s/outputs.safetensors: expected logits_f64 or logits_f32 [nodes, classes]",
                  v->folder);
    if (!st) {
        v->logits = (size_t)recorded_logits(v)->shape[1];
        st = verify_read_model(v, err);
    }
    return st ? st : verify_read_graph(v, err);
}

/* *undecided: config.json says nothing of the edge weights that a gcn's graph has. */
static medley_status verify_with(const char *folder, bool weights, struct checks *out,
                                 bool *undecided, medley_error *err)
{
    struct verified v = {.folder = folder, .weights = weights, .checks = out};
    double loss = NAN, wanted;
    params_init(&v.params);
    medley_status st = load(&v, err);
    if (!st && !(v.grads = mem_zalloc(v.params.total, sizeof *v.grads)))
        st = fail_memory(err, "gradients");
    tape_init(&v.tape, &v.params, v.grads);
    if (!st)
        st = run(&v, &loss, err);
    if (!st)
        check_outputs(&v);
    if (!st && json_as_double(json_get(v.config, "loss_f64"), &wanted))
        checks_add(out, fabs(loss - wanted) / fmax(fabs(wanted), 1e-3), GNN_OUTPUT_TOLERANCE,
                   "loss");
    if (!st)
        st = check_gradients(&v, err);
    *undecided = !st && v.ops == &layer_gcn && verify_said_of_weights(&v) < 0 &&
                 st_find(v.graph, "edge_weight");
    if (!st && out->failed)
        st = fail_memory(err, "checks");
    tape_deinit(&v.tape);
    verify_graph_free(&v.r);
    params_deinit(&v.params);
    st_close(v.graph);
    st_close(v.model);
    st_close(v.outputs);
    json_free(v.config);
    mem_free(v.grads);
    return st;
}

/* A recording that does not tell is taken the way that agrees, else without weights. */
medley_status gnn_verify(const char *folder, struct checks *out, medley_error *err)
{
    struct checks plain = {0}, weighted = {0};
    bool undecided = false;
    medley_status st = verify_with(folder, false, &plain, &undecided, err);
    if (!st && undecided && !checks_passed(&plain)) {
        st = verify_with(folder, true, &weighted, &undecided, err);
        if (!st && checks_passed(&weighted)) {
            struct checks swap = plain;
            plain = weighted;
            weighted = swap;
        }
    }
    checks_deinit(&weighted);
    if (st)
        checks_deinit(&plain);
    else
        *out = plain;
    return st;
}
