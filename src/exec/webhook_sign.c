/* SPDX-License-Identifier: Apache-2.0
 *
 * What proves to a receiver that a webhook is ours, and what ties it to a trace.
 *
 * Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over "ID.TIMESTAMP.BODY", where
 * ID is the run's, the same for each attempt, and TIMESTAMP the second it is sent in, so that a
 * receiver can refuse what is repeated or old. With several secrets there is a signature for each:
 * while a secret is being replaced both sides may hold either.
 *
 * A secret "whsec_BASE64" is the bytes behind the prefix, as that specification has it; any other
 * is taken byte for byte. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "exec_priv.h"

#define PREFIX "whsec_"
#define SIGNATURE_SIZE                                                                             \
	sodium_base64_ENCODED_LEN(crypto_auth_hmacsha256_BYTES, sodium_base64_VARIANT_ORIGINAL)

static int read_key(const char *name, const char *value,
	unsigned char ret_key[static SECRET_VALUE_MAX], size_t *ret_len, struct err *err)
{
	size_t len = strlen(value);

	if (strncmp(value, PREFIX, strlen(PREFIX)) != 0) {
		*ret_len = len < SECRET_VALUE_MAX ? len : SECRET_VALUE_MAX;
		memcpy(ret_key, value, *ret_len);
		return 0;
	}
	if (sodium_base642bin(ret_key, SECRET_VALUE_MAX, value + strlen(PREFIX),
		    len - strlen(PREFIX), NULL, ret_len, NULL, sodium_base64_VARIANT_ORIGINAL) == 0)
		return 0;
	return err_set(err, ERR_INVALID,
		"the secret '%s' begins with whsec_, but what follows is not base64", name);
}

/* Appends "v1,SIGNATURE". */
static void sign(const unsigned char *key, size_t key_len, const char *head, const char *body,
	struct buf *out)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state state;
	char text[SIGNATURE_SIZE];

	crypto_auth_hmacsha256_init(&state, key, key_len);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)head, strlen(head));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)body, strlen(body));
	crypto_auth_hmacsha256_final(&state, mac);
	sodium_memzero(&state, sizeof(state));
	(void)sodium_bin2base64(
		text, sizeof(text), mac, sizeof(mac), sodium_base64_VARIANT_ORIGINAL);
	buf_printf(out, "%sv1,%s", out->len > 0 ? " " : "", text);
}

int webhook_sign(
	const struct attempt *attempt, int64_t timestamp_s, char **ret_text, struct err *err)
{
	const struct http_target *target = &attempt->target.http;
	const struct template_values secrets = {
		.secrets = attempt->secrets, .secret_count = attempt->secret_count};
	unsigned char key[SECRET_VALUE_MAX];
	char id[ID_TEXT_SIZE];
	auto_free char *head =
		xasprintf("%s.%lld.", id_format(&attempt->run->id, id), (long long)timestamp_s);
	size_t key_len;
	struct buf out;
	int code = 0;

	buf_init(&out, ACTION_SIGNERS_MAX * (SIGNATURE_SIZE + 4));
	for (char *const *name = target->signing_secrets; *name != NULL && code == 0; name++) {
		const char *value = secret_find(&secrets, *name, strlen(*name));

		if (value == NULL)
			code = err_set(err, ERR_NOT_FOUND,
				"there is no secret '%s' to sign with; store it with: gathering "
				"secret set %s",
				*name, *name);
		else
			code = read_key(*name, value, key, &key_len, err);
		if (code == 0)
			sign(key, key_len, head, target->body != NULL ? target->body : "", &out);
	}
	sodium_memzero(key, sizeof(key));
	if (code == 0)
		*ret_text = buf_take(&out);
	buf_fini(&out);
	return code;
}

const char *webhook_traceparent(const struct run *run, char ret_text[static TRACEPARENT_SIZE])
{
	unsigned char span[8];
	char trace_hex[2 * ID_BYTES + 1], span_hex[2 * sizeof(span) + 1];
	const char *given = run->traceparent[0] != '\0' ? run->traceparent : NULL;

	do
		arc4random_buf(span, sizeof(span));
	while (sodium_is_zero(span, sizeof(span))); /* zero means none */
	(void)sodium_bin2hex(trace_hex, sizeof(trace_hex), run->id.bytes, ID_BYTES);
	(void)snprintf(ret_text, TRACEPARENT_SIZE, "00-%.32s-%s-%s",
		given != NULL ? given + 3 : trace_hex,
		sodium_bin2hex(span_hex, sizeof(span_hex), span, sizeof(span)),
		given != NULL ? given + 53 : "01");
	return ret_text;
}
