/* status.c: how calls fail. Every fallible call returns a status and tells a person why, in a
 * struct of the caller's; there is no global error and nothing is printed.
 *
 *     cc -std=c11 status.c $(pkg-config --cflags --libs medley) -o status && ./status */
#include "medley/status.h"
#include "medley/gbdt.h"

#include <stdio.h>

int main(void)
{
    medley_gbdt *model = NULL; /* written only when the call succeeds */
    medley_error err;
    printf("medley %s\n", medley_version());
    medley_status status = medley_gbdt_load("there/is/no/such.model", &model, &err);
    if (status == MEDLEY_OK)
        return 1;
    printf("%s\n", status == err.code ? medley_status_text(status) : "?"); /* for programs */
    printf("%s\n", err.message);                                           /* for people */

    /* Who does not care why passes NULL; freeing nothing is fine. */
    status = medley_gbdt_load("neither/is/this", &model, NULL);
    medley_gbdt_free(model);
    return status == MEDLEY_OK;
}
