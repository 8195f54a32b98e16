/* A layer norm in C, in float, checked against a golden case: nothing but the C library is needed.
 *
 *     cc -O2 -o check 06_check_an_op_in_c.c -lm && ./check ../reference/golden/ops/layer_norm
 *
 * A case is case.json and flat files. NAME.safetensors: 8 bytes N (little-endian), N bytes of JSON that say where each
 * tensor lies, then the tensors, row-major. Exit code 0: rounding explains the difference; 1: it does not; 2: unusable.
 * (Written for little-endian machines. The strings are searched, not parsed: fine for files that one trusts.) */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the op to be checked: yours ------------------------------------------------------------------------------- */
static void layer_norm(float *y, const float *x, const float *weight, const float *bias, int rows, int width, float eps)
{
    for (int r = 0; r < rows; r++, x += width, y += width) {
        float mean = 0, variance = 0;
        for (int i = 0; i < width; i++) mean += x[i] / width;
        for (int i = 0; i < width; i++) variance += (x[i] - mean) * (x[i] - mean) / width;
        for (int i = 0; i < width; i++) y[i] = weight[i] * (x[i] - mean) / sqrtf(variance + eps) + bias[i];
    }
}

/* ---- reading a case -------------------------------------------------------------------------------------------- */
static void *stop(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s\n", name, what);
    exit(2);
}

static char *contents(const char *folder, const char *name, size_t *size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) return stop("cannot be opened", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    if (!bytes || fread(bytes, 1, *size, file) != *size) return stop("cannot be read", path);
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

/* what follows KEY in TEXT, which holds it */
static const char *after(const char *text, const char *key)
{
    const char *found = text ? strstr(text, key) : NULL;
    return found ? found + strlen(key) : stop("not in the file", key);
}

/* a tensor's values, and how many they are */
static const double *tensor(const char *folder, const char *file, const char *name, size_t *count)
{
    size_t size, begin, end;
    char *bytes = contents(folder, file, &size), key[256];
    uint64_t header;
    if (size < 8 || (memcpy(&header, bytes, 8), header > size - 8)) return stop("no safetensors file", file);
    snprintf(key, sizeof key, "\"%s\":{\"dtype\":\"F64\"", name);
    const char *at = after(after(bytes + 8, key), "\"data_offsets\":[");
    if (sscanf(at, "%zu,%zu]", &begin, &end) != 2 || begin > end || end > size - 8 - header)
        return stop("has no such bytes", name);
    double *values = malloc(end - begin + 8); /* a copy, since the file need not be aligned */
    if (!values) return stop("no memory", name);
    memcpy(values, bytes + 8 + header + begin, end - begin);
    *count = (end - begin) / sizeof *values;
    return values;
}

int main(int argc, char **argv)
{
    size_t size, n, width, same;
    if (argc != 2) return fprintf(stderr, "usage: %s CASE\n", argv[0]), 2;
    const char *facts = contents(argv[1], "case.json", &size);
    const double *x = tensor(argv[1], "inputs.safetensors", "x", &n);
    const double *weight = tensor(argv[1], "inputs.safetensors", "weight", &width);
    const double *bias = tensor(argv[1], "inputs.safetensors", "bias", &same);
    const double *truth = tensor(argv[1], "forward.safetensors", "output", &size);
    if (same != width || size != n || !width || n % width) return fprintf(stderr, "no layer_norm case\n"), 2;

    float *in = malloc(4 * n), *out = malloc(4 * n), *w = malloc(4 * width), *b = malloc(4 * width);
    for (size_t i = 0; i < n; i++) in[i] = (float)x[i];
    for (size_t i = 0; i < width; i++) w[i] = (float)weight[i], b[i] = (float)bias[i];
    layer_norm(out, in, w, b, (int)(n / width), (int)width, (float)atof(after(facts, "\"eps\":")));

    const char *section = after(facts, "\"forward\": {"), *row = after(section, "[\"output\",[");
    double scale = atof(after(row, "],")), noise = atof(after(section, "\"float32\":")), error = 0;
    for (size_t i = 0; i < n; i++) error = fmax(error, isnan(out[i]) ? INFINITY : fabs(out[i] - truth[i]) / scale);
    const char *verdict = error <= 4 * noise ? "rounding explains it" : error <= 64 * noise
        ? "more than rounding" : "rounding cannot explain it";
    printf("layer_norm: error %.1e, %.1f times the noise floor of float32: %s\n", error, error / noise, verdict);
    return error > 4 * noise;
}
