/* digest.c -- the library's digests behind names of our own. */
#include "base/digest.h"

#include <openssl/evp.h>

#include "base/mem.h"

void sl_sha1(struct sl_str s, uint8_t ret_digest[SL_SHA1_LEN])
{
    sl_mem_need(EVP_Digest(s.p, s.n, ret_digest, NULL, EVP_sha1(), NULL) == 1);
}
