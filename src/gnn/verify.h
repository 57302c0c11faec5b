/* verify.h: compares graph layers with PyTorch Geometric's on a recorded graph. */
#ifndef GNN_VERIFY_H
#define GNN_VERIFY_H

#include "nn/checks.h"

/* The folder holds
 *
 * - config.json: conv (GCNConv, SAGEConv, GATv2Conv, RGCNConv) and its arguments, by their
 * names in PyTorch Geometric; activation between the layers; edge_weight (or use_edge_weight):
 *   whether edge weights are read. Where it does not say, gcn is tried without, then with.
 * - graph.safetensors: x [N, in], edge_src, edge_dst [E], y [N] labels; edge_type [E],
 *   edge_weight [E], edge_attr [E, columns] where the layer reads them
 * - model.safetensors: conv1..., conv2...: as many layers as there are
 * - outputs.safetensors: logits_f64 or logits_f32; hidden_i: layer i before its activation
 * - grads.safetensors: d loss / d parameter and input.x (absent: not compared)
 *
 * Errors are relative to the largest reference value; of a gradient to that of its parameter,
 * but not below a hundredth of the largest of all. Fails when a file cannot be read or asks for
 * what no layer does; a disagreement is a check that has not passed. *out must be empty. */
medley_status gnn_verify(const char *folder, struct checks *out, medley_error *err);

#define GNN_OUTPUT_TOLERANCE 1e-5
#define GNN_GRADIENT_TOLERANCE 1e-4

#endif
