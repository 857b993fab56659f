#include "fake.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#define CONNECTIONS_MAX 128

typedef struct connection {
  fake_t *fake;
  int fd, number;
  pthread_t thread;
} connection_t;

struct fake {
  fake_script_t script;
  void *arg;
  SSL_CTX *tls;
  char dir[32], path[48];
  int port;
  int listener;
  pthread_t thread;
  pthread_mutex_t lock;
  connection_t connections[CONNECTIONS_MAX];
  int accepted; /* under lock */
};

static void must(bool ok, const char *what) {
  if (ok) return;
  perror(what);
  abort();
}

static void drain(int fd) {
  char drop[4096];
  shutdown(fd, SHUT_WR);
  while (recv(fd, drop, sizeof drop, 0) > 0) {}
}

static void *connection_run(void *user) {
  connection_t *c = user;
  peer_t *peer = calloc(1, sizeof *peer);
  must(peer != NULL, "calloc");
  peer->fd = c->fd;
  bool ready = true;
  if (c->fake->tls) {
    peer->ssl = SSL_new(c->fake->tls);
    SSL_set_fd(peer->ssl, c->fd);
    ready = SSL_accept(peer->ssl) == 1;
  }
  if (ready)
    c->fake->script(peer, c->number, c->fake->arg);
  else
    drain(c->fd); /* closing with unread bytes would be a reset, and destroy the alert on its way */
  SSL_free(peer->ssl);
  free(peer);
  pthread_mutex_lock(&c->fake->lock);
  close(c->fd);
  c->fd = -1;
  pthread_mutex_unlock(&c->fake->lock);
  return NULL;
}

static void *fake_run(void *user) {
  fake_t *fake = user;
  int fd;
  while ((fd = accept(fake->listener, NULL, NULL)) >= 0) {
    pthread_mutex_lock(&fake->lock);
    must(fake->accepted < CONNECTIONS_MAX, "too many connections");
    connection_t *c = &fake->connections[fake->accepted];
    *c = (connection_t){.fake = fake, .fd = fd, .number = fake->accepted++};
    must(pthread_create(&c->thread, NULL, connection_run, c) == 0, "pthread_create");
    pthread_mutex_unlock(&fake->lock);
  }
  return NULL;
}

static fake_t *fake_new(int domain, fake_script_t script, void *arg) {
  fake_t *fake = calloc(1, sizeof *fake);
  must(fake != NULL, "calloc");
  fake->script = script;
  fake->arg = arg;
  pthread_mutex_init(&fake->lock, NULL);
  fake->listener = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(fake->listener >= 0, "socket");
  return fake;
}

static void fake_listen(fake_t *fake, const void *address, socklen_t size) {
  must(bind(fake->listener, address, size) == 0, "bind");
  must(listen(fake->listener, 64) == 0, "listen");
  must(pthread_create(&fake->thread, NULL, fake_run, fake) == 0, "pthread_create");
}

fake_t *fake_unix(fake_script_t script, void *arg) {
  fake_t *fake = fake_new(AF_UNIX, script, arg);
  strcpy(fake->dir, "/tmp/pgafrun-fake-XXXXXX");
  must(mkdtemp(fake->dir) != NULL, "mkdtemp");
  snprintf(fake->path, sizeof fake->path, "%s/sock", fake->dir);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", fake->path);
  fake_listen(fake, &address, sizeof address);
  return fake;
}

static fake_t *fake_loopback(SSL_CTX *tls, fake_script_t script, void *arg) {
  fake_t *fake = fake_new(AF_INET, script, arg);
  fake->tls = tls;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  fake_listen(fake, &address, sizeof address);
  socklen_t size = sizeof address;
  must(getsockname(fake->listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
  fake->port = ntohs(address.sin_port);
  return fake;
}

fake_t *fake_tcp(fake_script_t script, void *arg) { return fake_loopback(NULL, script, arg); }

static X509 *read_certificate(const char *pem) {
  BIO *bio = BIO_new_mem_buf(pem, -1);
  X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
  BIO_free(bio);
  must(cert != NULL, "certificate");
  return cert;
}

static EVP_PKEY *read_key(const char *pem) {
  BIO *bio = BIO_new_mem_buf(pem, -1);
  EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
  BIO_free(bio);
  must(key != NULL, "key");
  return key;
}

fake_t *fake_tls(const char *cert, const char *key, const char *client_ca, fake_script_t script, void *arg) {
  signal(SIGPIPE, SIG_IGN); /* SSL_write has no MSG_NOSIGNAL */
  SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
  X509 *x = read_certificate(cert);
  EVP_PKEY *k = read_key(key);
  must(SSL_CTX_use_certificate(tls, x) == 1 && SSL_CTX_use_PrivateKey(tls, k) == 1, "TLS identity");
  X509_free(x);
  EVP_PKEY_free(k);
  if (client_ca) {
    X509 *ca = read_certificate(client_ca);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), ca);
    X509_free(ca);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  }
  return fake_loopback(tls, script, arg);
}

void fake_stop(fake_t *fake) {
  shutdown(fake->listener, SHUT_RDWR);
  pthread_join(fake->thread, NULL);
  pthread_mutex_lock(&fake->lock);
  for (int i = 0; i < fake->accepted; i++)
    if (fake->connections[i].fd >= 0) shutdown(fake->connections[i].fd, SHUT_RDWR);
  pthread_mutex_unlock(&fake->lock);
  for (int i = 0; i < fake->accepted; i++) pthread_join(fake->connections[i].thread, NULL);
  close(fake->listener);
  if (fake->path[0]) {
    unlink(fake->path);
    rmdir(fake->dir);
  }
  SSL_CTX_free(fake->tls);
  pthread_mutex_destroy(&fake->lock);
  free(fake);
}

const char *fake_path(const fake_t *fake) { return fake->path; }
int fake_port(const fake_t *fake) { return fake->port; }
int fake_accepted(fake_t *fake) {
  pthread_mutex_lock(&fake->lock);
  int n = fake->accepted;
  pthread_mutex_unlock(&fake->lock);
  return n;
}

static ssize_t peer_read_some(peer_t *peer, void *data, size_t size) {
  if (peer->ssl) {
    int n = SSL_read(peer->ssl, data, (int)size);
    return n > 0 ? n : 0;
  }
  ssize_t n = recv(peer->fd, data, size, 0);
  return n > 0 ? n : 0;
}

bool peer_read(peer_t *peer, void *data, size_t size) {
  char *at = data;
  while (size) {
    ssize_t n = peer_read_some(peer, at, size);
    if (!n) return false;
    at += n;
    size -= (size_t)n;
  }
  return true;
}

bool peer_request(peer_t *peer) {
  char *end;
  peer->size = 0;
  peer->text[0] = 0;
  while (!(end = strstr(peer->text, "\r\n\r\n"))) {
    if (peer->size + 1 >= sizeof peer->text || !peer_read(peer, peer->text + peer->size, 1)) return false;
    peer->text[++peer->size] = 0;
  }
  const char *length = strcasestr(peer->text, "\r\nContent-Length:");
  size_t body = length ? strtoul(length + 17, NULL, 10) : 0;
  if (body >= sizeof peer->text - peer->size || !peer_read(peer, end + 4, body)) return false;
  peer->size += body;
  peer->text[peer->size] = 0;
  return true;
}

bool peer_write(peer_t *peer, const void *data, size_t size) {
  const char *at = data;
  while (size) {
    ssize_t n = peer->ssl ? SSL_write(peer->ssl, at, (int)(size < 1 << 20 ? size : 1 << 20))
                          : send(peer->fd, at, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += n;
    size -= (size_t)n;
  }
  return true;
}

bool peer_say(peer_t *peer, const char *text) { return peer_write(peer, text, strlen(text)); }

bool peer_say_slowly(peer_t *peer, const void *data, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (!peer_write(peer, (const char *)data + i, 1)) return false;
    usleep(200); /* else the kernel hands the bytes over together */
  }
  return true;
}

void peer_stall(peer_t *peer) {
  char drop[4096];
  while (peer_read_some(peer, drop, sizeof drop)) {}
}

void peer_reset(peer_t *peer) {
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static char *bio_text(BIO *bio) {
  char *data;
  long size = BIO_get_mem_data(bio, &data);
  char *text = strndup(data, (size_t)size);
  must(text != NULL, "strndup");
  BIO_free(bio);
  return text;
}

void make_certificate(const char *name, char **cert, char **key) {
  EVP_PKEY *k = EVP_EC_gen("P-256");
  X509 *x = X509_new();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
  X509_gmtime_adj(X509_getm_notBefore(x), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x), 86400);
  X509_NAME *subject = X509_get_subject_name(x);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
  X509_set_issuer_name(x, subject);
  X509_set_pubkey(x, k);
  must(X509_sign(x, k, EVP_sha256()) > 0, "sign");
  BIO *bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, x);
  *cert = bio_text(bio);
  bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(bio, k, NULL, NULL, 0, NULL, NULL);
  *key = bio_text(bio);
  X509_free(x);
  EVP_PKEY_free(k);
}

char *encrypt_key(const char *pem) {
  EVP_PKEY *key = read_key(pem);
  BIO *bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_256_cbc(), "passphrase", 10, NULL, NULL);
  EVP_PKEY_free(key);
  return bio_text(bio);
}
