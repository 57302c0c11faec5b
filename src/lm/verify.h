/* verify.h: compares an encoder with its reference implementation on recorded inputs. */
#ifndef LM_VERIFY_H
#define LM_VERIFY_H

#include "nn/checks.h"

/* The folder holds a checkpoint (config.json, model.safetensors), inputs.json (input_ids,
 * attention_mask, token_type_ids, labels) and what the reference made of them:
 *   outputs.safetensors  logits_f64 or logits_f32; hidden_0 (embeddings), hidden_i (layer i)
 *   grads.safetensors    d loss / d parameter (absent: not compared)
 *   expected.json        loss_f64; train: steps of AdamW (absent: not compared)
 * Errors are relative to the largest reference value; of a gradient to that of its parameter,
 * but not below a hundredth of the largest of all, because some are zero but for rounding.
 * Fails when a file cannot be read; a disagreement is a check that has not passed. */
medley_status lm_verify(const char *folder, struct checks *out, medley_error *err);

#define LM_LOGIT_TOLERANCE 1e-5
#define LM_GRADIENT_TOLERANCE 1e-4

#endif
