/*
 * A wire with delay, jitter, loss, reordering and duplication between two interfaces of one network namespace.
 *
 *   wire LEFT RIGHT [--delay MS] [--jitter MS] [--loss PERCENT] [--reorder PERCENT] [--duplicate PERCENT] [--seed N]
 *                   [--rate MBIT [--queue KIB]]
 *
 * Every frame that one interface receives leaves through the other, `delay` ± `jitter` later. Jitter alone keeps the
 * order, as a queue does; `reorder` lets that share of the frames skip the delay, as netem does. ARP passes at once.
 * With a `rate` the frames first leave one after another, and what finds `queue` KiB waiting before it is dropped.
 * The settings hold for each direction by itself. Lines on stdin such as "delay 50" change them; end of stdin ends it.
 * Prints "ready" once frames pass.
 *
 * Packet sockets carry a virtio header (PACKET_VNET_HDR), so that checksums still to be filled in, and segments still
 * to be cut, cross as they are. They need CAP_NET_RAW in the namespace only, where /dev/net/tun needs a device node.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

enum { BATCH = 64, FRAME_LIMIT = 66 * 1024, SOCKET_BUFFER = 32 << 20 };
static const size_t QUEUE_LIMIT = 512u << 20; /* bytes on the wire in both directions; what comes beyond is dropped */
static const uint64_t NEVER = UINT64_MAX;

struct frame {
    uint64_t due;   /* monotonic nanoseconds */
    uint64_t order; /* breaks ties, so that equal due times keep their order */
    int out;        /* index of the interface it leaves by */
    uint32_t length;
    unsigned char bytes[]; /* virtio header, then the Ethernet frame */
};

static struct {
    double delay, jitter;            /* milliseconds */
    double loss, reorder, duplicate; /* percent */
    double rate;                     /* megabits per second; 0 is no bound */
    double queue;                    /* KiB that may wait for the rate */
    double seed;
} settings = {.seed = 1, .queue = 1024};

static int sockets[2];
static uint64_t last_due[2];
static uint64_t idle_from[2]; /* when the last frame that waits for the rate has left */
static uint64_t random_states[2]; /* one per direction: what one carries cannot change what befalls the other */
static uint64_t frames_seen;

static struct frame **heap;
static size_t heap_size, heap_room, queued_bytes;

static void fail(const char *what) {
    fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void seed_random(double seed) {
    for (int out = 0; out < 2; out++) random_states[out] = (uint64_t)seed * 2 + (uint64_t)out;
}

/* splitmix64, as a number in [0, 1) */
static double random_unit(int out) {
    uint64_t z = (random_states[out] += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

static int happens(int out, double percent) { return percent > 0 && random_unit(out) * 100 < percent; }

static int earlier(const struct frame *a, const struct frame *b) {
    return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void heap_push(struct frame *frame) {
    if (heap_size == heap_room) {
        heap_room = heap_room ? heap_room * 2 : 1024;
        heap = realloc(heap, heap_room * sizeof *heap);
        if (!heap) fail("memory");
    }
    size_t hole = heap_size++;
    for (; hole > 0 && earlier(frame, heap[(hole - 1) / 2]); hole = (hole - 1) / 2) heap[hole] = heap[(hole - 1) / 2];
    heap[hole] = frame;
    queued_bytes += frame->length;
}

static struct frame *heap_pop(void) {
    struct frame *top = heap[0], *last = heap[--heap_size];
    size_t hole = 0;
    for (size_t child; (child = 2 * hole + 1) < heap_size; hole = child) {
        if (child + 1 < heap_size && earlier(heap[child + 1], heap[child])) child++;
        if (!earlier(heap[child], last)) break;
        heap[hole] = heap[child];
    }
    if (heap_size) heap[hole] = last;
    queued_bytes -= top->length;
    return top;
}

static void enqueue(int out, const unsigned char *bytes, uint32_t length, uint64_t due) {
    struct frame *frame = queued_bytes + length > QUEUE_LIMIT ? NULL : malloc(sizeof *frame + length);
    if (!frame) return;
    frame->due = due;
    frame->order = frames_seen++;
    frame->out = out;
    frame->length = length;
    memcpy(frame->bytes, bytes, length);
    heap_push(frame);
}

static int is_arp(const unsigned char *bytes) {
    const unsigned char *type = bytes + sizeof(struct virtio_net_hdr) + 2 * ETH_ALEN;
    return type[0] == ETHERTYPE_ARP >> 8 && type[1] == (ETHERTYPE_ARP & 0xff);
}

static uint64_t due_time(int out, uint64_t now) {
    double milliseconds = settings.delay + settings.jitter * (2 * random_unit(out) - 1);
    uint64_t due = now + (milliseconds > 0 ? (uint64_t)(milliseconds * 1e6) : 0);
    if (due < last_due[out]) due = last_due[out];
    return last_due[out] = due;
}

/* When a frame that comes now has left at the rate; NEVER where the queue has no room for it. */
static uint64_t leaving_time(int out, uint32_t length, uint64_t now) {
    if (settings.rate <= 0) return now;
    double nanoseconds_per_byte = 8e3 / settings.rate;
    uint64_t from = idle_from[out] > now ? idle_from[out] : now;
    if ((double)(from - now) > settings.queue * 1024 * nanoseconds_per_byte) return NEVER;
    return idle_from[out] = from + (uint64_t)(length * nanoseconds_per_byte);
}

static void accept_frame(int out, const unsigned char *bytes, uint32_t length, uint64_t now) {
    if (length < sizeof(struct virtio_net_hdr) + ETH_HLEN) return;
    if (is_arp(bytes)) {
        enqueue(out, bytes, length, now);
        return;
    }
    uint64_t left = leaving_time(out, length - (uint32_t)sizeof(struct virtio_net_hdr), now);
    if (left == NEVER || happens(out, settings.loss)) return;
    enqueue(out, bytes, length, happens(out, settings.reorder) ? left : due_time(out, left));
    if (happens(out, settings.duplicate)) enqueue(out, bytes, length, due_time(out, left));
}

static void receive_from(int in) {
    static unsigned char buffers[BATCH][FRAME_LIMIT];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){.iov_base = buffers[i], .iov_len = FRAME_LIMIT};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(sockets[in], messages, BATCH, MSG_DONTWAIT, NULL);
    uint64_t now = now_nanoseconds();
    for (int i = 0; i < count; i++) {
        if (messages[i].msg_hdr.msg_flags & MSG_TRUNC) continue;
        accept_frame(!in, buffers[i], messages[i].msg_len, now);
    }
}

static void send_batch(int out, struct frame **frames, int count) {
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    for (int i = 0; i < count; i++) {
        parts[i] = (struct iovec){.iov_base = frames[i]->bytes, .iov_len = frames[i]->length};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (int sent = 0; sent < count;) {
        int done = sendmmsg(sockets[out], messages + sent, (unsigned)(count - sent), 0);
        sent += done > 0 ? done : 1; /* a frame that the interface refuses is lost, like on any wire */
    }
    for (int i = 0; i < count; i++) free(frames[i]);
}

static void send_due(void) {
    struct frame *batches[2][BATCH];
    int counts[2] = {0, 0};
    uint64_t now = now_nanoseconds();
    while (heap_size && heap[0]->due <= now && counts[0] < BATCH && counts[1] < BATCH) {
        struct frame *frame = heap_pop();
        batches[frame->out][counts[frame->out]++] = frame;
    }
    for (int out = 0; out < 2; out++) send_batch(out, batches[out], counts[out]);
}

static int open_interface(const char *name) {
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("packet socket");
    int on = 1, size = SOCKET_BUFFER;
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on)) fail("PACKET_VNET_HDR");
    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size)) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size)) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name)};
    if (!address.sll_ifindex || bind(fd, (struct sockaddr *)&address, sizeof address)) fail(name);
    return fd;
}

static void change_setting(const char *name, const char *value) {
    static const struct { const char *name; double *value; } known[] = {
        {"delay", &settings.delay},     {"jitter", &settings.jitter},       {"loss", &settings.loss},
        {"reorder", &settings.reorder}, {"duplicate", &settings.duplicate}, {"seed", &settings.seed},
        {"rate", &settings.rate},       {"queue", &settings.queue},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name)) continue;
        *known[i].value = atof(value);
        if (known[i].value == &settings.seed) seed_random(settings.seed);
        return;
    }
    fprintf(stderr, "wire: no setting named %s\n", name);
    exit(2);
}

/* Applies whole lines only; the rest waits for its end. */
static void read_settings(void) {
    static char text[512];
    static size_t length;
    ssize_t count = read(STDIN_FILENO, text + length, sizeof text - 1 - length);
    if (count <= 0) exit(0);
    length += (size_t)count;
    text[length] = '\0';
    char *line = text;
    for (char *end; (end = strchr(line, '\n')); line = end + 1) {
        char name[32], value[32];
        *end = '\0';
        if (sscanf(line, "%31s %31s", name, value) == 2) change_setting(name, value);
    }
    length -= (size_t)(line - text);
    memmove(text, line, length);
}

static void carry(void) {
    struct pollfd waits[3] = {{sockets[0], POLLIN, 0}, {sockets[1], POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    for (;;) {
        uint64_t now = now_nanoseconds(), due = heap_size ? heap[0]->due : NEVER, wait = due > now ? due - now : 0;
        struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
        if (ppoll(waits, 3, due == NEVER ? NULL : &timeout, NULL) < 0 && errno != EINTR) fail("poll");
        for (int in = 0; in < 2; in++)
            if (waits[in].revents & POLLIN) receive_from(in);
        if (waits[2].revents) read_settings();
        send_due();
    }
}

int main(int argc, char **argv) {
    if (argc < 3 || argc % 2 == 0) {
        fprintf(stderr, "usage: wire LEFT RIGHT [--delay MS] [--jitter MS] [--loss %%] [--reorder %%] [--duplicate %%] [--seed N] [--rate MBIT [--queue KIB]]\n");
        return 2;
    }
    seed_random(settings.seed);
    for (int i = 3; i < argc; i += 2) change_setting(argv[i] + strspn(argv[i], "-"), argv[i + 1]);
    prctl(PR_SET_TIMERSLACK, 1);
    setpriority(PRIO_PROCESS, 0, -20); /* a busy machine must not look like a slow link; refused without root */
    for (int side = 0; side < 2; side++) sockets[side] = open_interface(argv[1 + side]);
    puts("ready");
    fflush(stdout);
    carry();
}
