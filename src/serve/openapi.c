/* openapi.c: GET /openapi.json: OpenAPI 3.1 of the table of routes. Paths, methods, tokens and
 * media types are the table's; what goes in and out stands here, one line a route, and a test
 * fails for a route that has none (tests/test_openapi.c). `make api-check` puts a server and
 * its document to an off-the-shelf tester. */
#include "serve/classify_request.h"
#include "serve/server_private.h"

#include <string.h>

#define TEXT_OF(x) #x
#define NUMBER(macro) TEXT_OF(macro)

/* JSON with ' for ", which none of it needs. */
#define TEXT "{'type':'string','maxLength':" NUMBER(CLASSIFY_MAX_TEXT) "}"
#define BLANKLESS \
    "{'type':'string','maxLength':" NUMBER(CLASSIFY_MAX_TEXT) ",'pattern':'[!-~]'}"
#define LOCALE                                                                         \
    "{'type':'string','pattern':'^[A-Za-z0-9_-]+$','minLength':1,'maxLength':" NUMBER( \
        CLASSIFY_MAX_LOCALE) ",'default':'us'}"
#define PREDICTIONS                                                                        \
    "{'type':'object','maxProperties':" NUMBER(MEDLEY_MAX_MODELS) ",'description':'what "    \
    "models say of the product, each a probability for every class in the order of GET "      \
    "/v1/bundle; nobody asks them for it','additionalProperties':{'type':'array','minItems':" \
    "1,'maxItems':" NUMBER(MEDLEY_MAX_CLASSES) ",'items':{'type':'number','minimum':0,"      \
    "'maximum':1}}}"
#define COUNT "{'type':'integer','minimum':0}"
#define BY_CLASS "{'type':'object','additionalProperties':{'type':['number','null']}}"
#define NAMES "{'type':'array','items':{'type':'string'}}"
#define ANY "{'type':'object'}"
#define LIST_OF(x) "{'type':'array','items':" x "}"

// clang-format off
static const struct {
    const char *name, *schema;
} schemas[] = {
    {"Error", "{'type':'object','required':['error'],'properties':{'error':{'type':'string'}}}"},
    {"ProductText", "{'type':'object','required':['title'],'additionalProperties':false,'properties':{"
     "'id':{'type':'string','maxLength':" NUMBER(CLASSIFY_MAX_ID) "},'title':" BLANKLESS
     ",'description':" TEXT ",'bullets':" TEXT ",'brand':" TEXT ",'color':" TEXT ",'category':"
     TEXT ",'predictions':" PREDICTIONS "}}"},
    {"ProductId", "{'type':'object','required':['id'],'additionalProperties':false,'properties':{"
     "'id':{'type':'string','minLength':1,'maxLength':" NUMBER(CLASSIFY_MAX_ID) "},'predictions':"
     PREDICTIONS "}}"},
    {"Product", "{'anyOf':[{'type':'string','minLength':1,'maxLength':" NUMBER(CLASSIFY_MAX_ID)
     "},{'$ref':'#/components/schemas/ProductId'},{'$ref':'#/components/schemas/ProductText'}]}"},
    {"Classify", "{'type':'object','required':['query','products'],'additionalProperties':false,"
     "'properties':{'query':" BLANKLESS ",'locale':" LOCALE ",'products':{'type':'array',"
     "'minItems':1,'maxItems':" NUMBER(CLASSIFY_MAX_PRODUCTS) ",'items':{'$ref':'#/components/schemas/Product'}},"
     "'explain':{'type':'boolean','default':false,'description':'what each model contributed; not with cache only'},"
     "'cache':{'type':'string','enum':['on','off','only'],'default':'on'},'max_age_s':{'type':'number',"
     "'minimum':0,'maximum':1000000000},'models':{'type':'array','uniqueItems':true,"
     "'items':{'type':'string'},'description':'names of GET /v1/models; none where products bring predictions'},'deadline_ms':{'type':'number',"
     "'minimum':1,'maximum':" NUMBER(CLASSIFY_MAX_DEADLINE) "}}}"},
    {"Result", "{'type':'object','required':['id','label','cached'],'properties':{'id':{'type':['string',"
     "'null']},'position':" COUNT ",'label':{'type':['string','null']},'expected_gain':{'type':['number',"
     "'null']},'probabilities':" BY_CLASS ",'margins':" BY_CLASS ",'known_product':{'type':'boolean'},"
     "'models_used':" NAMES ",'models_given':" NAMES ",'models_failed':" NAMES ",'models_late':" NAMES ",'models_precomputed':"
     NAMES ",'cascade_stage':" COUNT ",'cached':{'type':'boolean'},'age_s':" COUNT ",'base':"
     BY_CLASS ",'contributions':{'type':'object','additionalProperties':" BY_CLASS "}}}"},
    {"Classified", "{'type':'object','required':['bundle','query','locale','results','pairs_precomputed',"
     "'embeddings_age_s','took_ms'],'properties':{'bundle':{'type':'string'},'query':{'type':'string'},"
     "'locale':{'type':'string'},'base':" BY_CLASS ",'results':" LIST_OF("{'$ref':'#/components/schemas/Result'}")
     ",'pairs_precomputed':" COUNT ",'embeddings_age_s':{'type':['integer','null']},'took_ms':{"
     "'type':'number'}}}"},
    {"Bundle", "{'type':'object','required':['id','version','classes','models','cascade',"
     "'base','memory','cache','limits','shadow','uptime_s'],'properties':{'id':{'type':'string'},"
     "'version':{'type':'string'},'classes':" LIST_OF(ANY) ",'models':" LIST_OF(ANY) ",'cascade':{"
     "'type':['array','null']},'calibration':{'type':'string'},'base':" BY_CLASS ",'memory':"
     ANY ",'cache':" ANY ",'limits':" ANY ",'shadow':{'type':['object','null']},'uptime_s':{"
     "'type':'number'}}}"},
    {"Models", "{'type':'object','required':['bundle','models'],'properties':{'bundle':{'type':'string'},"
     "'models':" LIST_OF("{'type':'object','required':['name','kind']}") "}}"},
    {"BundleName", "{'type':'object','additionalProperties':false,'properties':{"
     "'bundle':{'type':'string','default':'current','description':'folder beside the first one'}}}"},
    {"Shadow", "{'type':'object','additionalProperties':false,'properties':{"
     "'bundle':{'type':['string','null'],'description':'null, or not given: no shadow any more'},"
     "'share':{'type':'number','exclusiveMinimum':0,'maximum':1}}}"},
    {"Nothing", "{'type':'object','maxProperties':0}"},
    {"Ids", "{'type':'object','required':['ids'],'additionalProperties':false,'properties':{"
     "'ids':{'type':'array','minItems':1,'maxItems':" NUMBER(PRODUCTS_MAX_IDS) ",'items':{"
     "'type':'string','minLength':1,'maxLength':" NUMBER(CLASSIFY_MAX_ID) "}}}}"},
    {"Invalidated", "{'type':'object','required':['invalidated'],'properties':{'invalidated':"
     COUNT "}}"},
    {"Update", "{'type':'object','required':['id','title'],'additionalProperties':false,'properties':{"
     "'id':{'type':'string','minLength':1,'maxLength':" NUMBER(CLASSIFY_MAX_ID) "},'title':"
     BLANKLESS ",'description':" TEXT ",'bullets':" TEXT ",'brand':" TEXT ",'color':" TEXT
     ",'category':" TEXT "}}"},
    {"Updates", "{'type':'object','required':['products'],'additionalProperties':false,'properties':{"
     "'locale':" LOCALE ",'products':{'type':'array','minItems':1,'maxItems':" NUMBER(CLASSIFY_MAX_PRODUCTS)
     ",'items':{'$ref':'#/components/schemas/Update'}}}}"},
    {"Updated", "{'type':'object','required':['stored'],'properties':{'stored':" COUNT "}}"},
    {"UpdatedText", "{'type':'object','required':['id','locale','updated','title'],'properties':{"
     "'id':{'type':'string'},'locale':{'type':'string'},'updated':{'type':'string'},'title':{"
     "'type':'string'},'description':{'type':'string'},'bullets':{'type':'string'},'brand':{"
     "'type':'string'},'color':{'type':'string'},'category':{'type':'string'}}}"},
    {"Removed", "{'type':'object','required':['removed'],'properties':{'removed':{'type':'boolean'}}}"},
    {"InferTensor", "{'type':'object','required':['name','datatype','shape','data'],'properties':{"
     "'name':{'type':'string','enum':['query','locale','product_id','title','description',"
     "'bullets','brand','color','category']},'datatype':{'const':'BYTES'},'shape':{'type':'array',"
     "'minItems':1,'maxItems':2,'items':{'type':'integer','minimum':1}},'data':{'type':'array',"
     "'minItems':1},'parameters':" ANY "}}"},
    {"Infer", "{'type':'object','required':['inputs'],'properties':{'id':{'type':'string'},"
     "'inputs':{'type':'array','minItems':1,'items':{'$ref':'#/components/schemas/InferTensor'}},"
     "'outputs':" LIST_OF("{'type':'object','required':['name'],'properties':{'name':{'type':'string',"
     "'enum':['probabilities','label']},'parameters':" ANY "}}") ",'parameters':" ANY "}}"},
    {"Inferred", "{'type':'object','required':['model_name','model_version','outputs'],'properties':{"
     "'model_name':{'type':'string'},'model_version':{'type':'string'},'id':{'type':'string'},"
     "'outputs':" LIST_OF("{'type':'object','required':['name','datatype','shape','data'],"
     "'properties':{'name':{'type':'string'},'datatype':{'enum':['FP32','BYTES']},'shape':"
     LIST_OF(COUNT) ",'data':{'type':'array'}}}") "}}"},
    {"Object", ANY},
};
// clang-format on

static const struct contents {
    const char *method, *path;
    const char *takes; /* schema of the body; NULL: none */
    const char *gives; /* schema of the answer; NULL: text */
    const char *type;  /* media type of the answer */
} contents[] = {
    {"POST", "/v1/classify", "Classify", "Classified", "application/json"},
    {"POST", "/v1/rank", "Classify", "Classified", "application/json"},
    {"GET", "/v1/bundle", NULL, "Bundle", "application/json"},
    {"GET", "/v1/models", NULL, "Models", "application/json"},
    {"GET", "/v1/ensemble", NULL, "Object", "application/json"},
    {"GET", "/v1/shadow", NULL, "Object", "application/json"},
    {"GET", "/v1/shadow/changes", NULL, "Object", "application/json"},
    {"POST", "/v1/bundles:activate", "BundleName", "Object", "application/json"},
    {"POST", "/v1/bundles:rollback", "Nothing", "Object", "application/json"},
    {"POST", "/v1/bundles:shadow", "Shadow", "Object", "application/json"},
    {"POST", "/v1/products:invalidate", "Ids", "Invalidated", "application/json"},
    {"POST", "/v1/products/{id}:invalidate", NULL, "Invalidated", "application/json"},
    {"POST", "/v1/products", "Updates", "Updated", "application/json"},
    {"GET", "/v1/products/{id}", NULL, "UpdatedText", "application/json"},
    {"DELETE", "/v1/products/{id}", NULL, "Removed", "application/json"},
    {"GET", "/v2", NULL, "Object", "application/json"},
    {"GET", "/v2/health/live", NULL, "Object", "application/json"},
    {"GET", "/v2/health/ready", NULL, "Object", "application/json"},
    {"POST", "/v2/models/{name}/infer", "Infer", "Inferred", "application/json"},
    {"GET", "/v2/models/{name}/ready", NULL, "Object", "application/json"},
    {"GET", "/v2/models/{name}", NULL, "Object", "application/json"},
    {"GET", "/healthz", NULL, "Object", "application/json"},
    {"GET", "/readyz", NULL, "Object", "application/json"},
    {"GET", "/metrics", NULL, NULL, "application/openmetrics-text"},
    {"GET", "/openapi.json", NULL, "Object", "application/json"},
    {"GET", "/", NULL, NULL, "text/html"},
    {"GET", "/page.css", NULL, NULL, "text/css"},
    {"GET", "/page.js", NULL, NULL, "text/javascript"},
    {"GET", "/page.svg", NULL, NULL, "image/svg+xml"},
};

static const struct contents *contents_of(const struct route *route)
{
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++)
        if (strcmp(contents[i].path, route->path) == 0 &&
            strcmp(contents[i].method, route->method) == 0)
            return &contents[i];
    return NULL;
}

/* ---- writing ----------------------------------------------------------------------------- */

static void put_quoted(struct json_writer *w, const char *text)
{
    struct strbuf *out = jw_raw(w);
    for (; *text; text++)
        sb_addc(out, *text == '\'' ? '"' : *text);
}

static void write_content(struct json_writer *w, const char *type, const char *schema)
{
    jw_key(w, "content"), jw_object(w);
    jw_key(w, type), jw_object(w);
    jw_key(w, "schema"), jw_object(w);
    if (schema) {
        char ref[80];
        snprintf(ref, sizeof ref, "#/components/schemas/%s", schema);
        jw_key(w, "$ref"), jw_textz(w, ref);
    } else {
        jw_key(w, "type"), jw_textz(w, "string");
    }
    jw_object_end(w);
    jw_object_end(w);
    jw_object_end(w);
}

static void write_error(struct json_writer *w, const char *status)
{
    jw_key(w, status), jw_object(w);
    jw_key(w, "$ref"), jw_textz(w, "#/components/responses/Error");
    jw_object_end(w);
}

static void write_responses(struct json_writer *w, const struct route *route,
                            const struct contents *c)
{
    jw_key(w, "responses"), jw_object(w);
    jw_key(w, "200"), jw_object(w);
    jw_key(w, "description"), jw_textz(w, route->summary);
    if (c)
        write_content(w, c->type, c->gives);
    jw_object_end(w);
    bool hole = strchr(route->path, '{') != NULL;
    if (route->takes || hole)
        write_error(w, "400");
    if (route->access != OPEN_TO_ALL)
        write_error(w, "401");
    if (route->access == FOR_ADMINS)
        write_error(w, "403");
    if (hole || route->access == FOR_ADMINS)
        write_error(w, "404");
    if (route->access == FOR_ADMINS)
        write_error(w, "409");
    write_error(w, "413");
    if (route->takes)
        write_error(w, "415");
    write_error(w, "429");
    write_error(w, "500");
    write_error(w, "503");
    if (strcmp(route->path, "/v1/products") == 0)
        write_error(w, "507");
    jw_object_end(w);
}

static void write_parameter(struct json_writer *w, struct str name, const char *in,
                            const char *schema)
{
    jw_object(w);
    jw_key(w, "name"), jw_text(w, name);
    jw_key(w, "in"), jw_textz(w, in);
    jw_key(w, "required"), jw_bool(w, strcmp(in, "path") == 0);
    jw_key(w, "schema"), put_quoted(w, schema);
    jw_object_end(w);
}

/* What stands in the path, and the locale where a product is asked for without a body. */
static void write_parameters(struct json_writer *w, const struct route *route)
{
    const char *hole = strchr(route->path, '{');
    if (!hole)
        return;
    jw_key(w, "parameters"), jw_array(w);
    write_parameter(w, (struct str){hole + 1, strcspn(hole + 1, "}")}, "path",
                    "{'type':'string','minLength':1}");
    if (strcmp(route->path, "/v1/products/{id}") == 0)
        write_parameter(w, STR("locale"), "query", LOCALE);
    jw_array_end(w);
}

static const char *lower_case(const char *method)
{
    static const char *const names[][2] = {
        {"GET", "get"}, {"POST", "post"}, {"DELETE", "delete"}};
    size_t i = 0;
    while (strcmp(names[i][0], method) != 0)
        i++;
    return names[i][1];
}

static void write_operation(struct json_writer *w, const struct route *route)
{
    const struct contents *c = contents_of(route);
    jw_key(w, lower_case(route->method)), jw_object(w);
    jw_key(w, "summary"), jw_textz(w, route->summary);
    if (route->access != OPEN_TO_ALL) {
        jw_key(w, "security");
        put_quoted(w, route->access == FOR_ADMINS ? "[{'admin':[]}]" : "[{},{'client':[]}]");
    }
    write_parameters(w, route);
    if (route->takes && c) {
        jw_key(w, "requestBody"), jw_object(w);
        jw_key(w, "required"), jw_bool(w, true);
        write_content(w, route->takes, c->takes);
        jw_object_end(w);
    }
    write_responses(w, route, c);
    jw_object_end(w);
}

static bool path_is_new(size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (strcmp(routes[j].path, routes[i].path) == 0)
            return false;
    return true;
}

static void write_paths(struct json_writer *w)
{
    jw_key(w, "paths"), jw_object(w);
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (!path_is_new(i))
            continue;
        jw_key(w, routes[i].path), jw_object(w);
        for (size_t j = i; j < N_ROUTES; j++)
            if (strcmp(routes[j].path, routes[i].path) == 0)
                write_operation(w, &routes[j]);
        jw_object_end(w);
    }
    jw_object_end(w);
}

static void write_components(struct json_writer *w)
{
    jw_key(w, "components"), jw_object(w);
    jw_key(w, "securitySchemes");
    put_quoted(w, "{'client':{'type':'http','scheme':'bearer'},"
                  "'admin':{'type':'http','scheme':'bearer'}}");
    jw_key(w, "responses");
    put_quoted(w, "{'Error':{'description':'why it was refused, or failed','content':"
                  "{'application/json':{'schema':{'$ref':'#/components/schemas/Error'}}}}}");
    jw_key(w, "schemas"), jw_object(w);
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++)
        jw_key(w, schemas[i].name), put_quoted(w, schemas[i].schema);
    jw_object_end(w);
    jw_object_end(w);
}

enum handled handle_openapi(struct request *r)
{
    struct json_writer w;
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, "openapi"), jw_textz(&w, "3.1.0");
    jw_key(&w, "info"), jw_object(&w);
    jw_key(&w, "title"), jw_textz(&w, "Medley");
    jw_key(&w, "version"), jw_textz(&w, medley_version());
    jw_object_end(&w);
    write_paths(&w);
    write_components(&w);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
    return HANDLED;
}
