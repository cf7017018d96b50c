// A C program as a user writes it: makes a table, looks rows up, pushes.
//
//   lookup HOST:PORT     prints the six ids' first floats before and after

#include <quire/client_c.h>
#include <stdio.h>
#include <string.h>

enum { kIds = 6, kDim = 5 };

static int Failed(quire_error* error) {
  if (error == NULL) {
    return 0;
  }
  fprintf(stderr, "%s: %s\n", quire_error_code_name(error),
          quire_error_message(error));
  quire_error_free(error);
  return 1;
}

static int Look(quire_client* client, const int64_t* ids, float* rows) {
  quire_lookup_item item;
  memset(&item, 0, sizeof(item));
  item.table = "dictionary";
  item.ids = ids;
  item.id_count = kIds;
  item.out = rows;
  item.out_count = kIds * kDim;
  return Failed(quire_lookup(client, &item, 1, QUIRE_DEFAULT_TIMEOUT));
}

static int Push(quire_client* client, const int64_t* ids) {
  quire_gradient_item item;
  quire_pushed_table table;
  float gradient[kIds * kDim];
  int i;
  for (i = 0; i < kIds * kDim; ++i) {
    gradient[i] = 1;
  }
  memset(&item, 0, sizeof(item));
  item.table = "dictionary";
  item.ids = ids;
  item.id_count = kIds;
  item.gradient = gradient;
  item.gradient_count = kIds * kDim;
  if (Failed(quire_apply_gradient(client, &item, 1,
                                  QUIRE_DURABILITY_UNSPECIFIED,
                                  QUIRE_DEFAULT_TIMEOUT, NULL, &table))) {
    return 1;
  }
  printf("%d rows changed\n", (int)table.rows_changed);
  return 0;
}

int main(int argc, char** argv) {
  const char* const request =
      "{\"spec\": {\"name\": \"dictionary\", \"num_embeddings\": 10,"
      " \"embedding_dim\": 5, \"initializer\": {\"constant\": {\"value\": 3}},"
      " \"optimizer\": {\"learning_rate\": 0.5}}}";
  const int64_t ids[kIds] = {2, 3, 1, 0, 8, 6};
  float before[kIds * kDim];
  float after[kIds * kDim];
  quire_client* client = NULL;
  char* table = NULL;
  int failed;
  if (argc != 2 || Failed(quire_connect(argv[1], 20000, &client))) {
    return 2;
  }
  failed = Failed(quire_create_table(client, request, QUIRE_DEFAULT_TIMEOUT,
                                     &table)) ||
           Look(client, ids, before) || Push(client, ids) ||
           Look(client, ids, after);
  quire_text_free(table);
  if (!failed) {
    failed =
        Failed(quire_drop_table(client, "dictionary", QUIRE_DEFAULT_TIMEOUT));
    printf("%g %g\n", before[0], after[kIds * kDim - 1]);
  }
  quire_client_free(client);
  return failed;
}
