package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// forwardTimeout is how long one recursor has for an answer. A client waits
// for 5 s as a rule (resolv.conf(5)), enough for two.
const forwardTimeout = 2 * time.Second

// forwarder asks recursors, through sockets of the machine. It is safe for
// concurrent use.
type forwarder struct {
	ctx   context.Context // ends all questions
	to    []netip.AddrPort
	quota *quota
	log   *slog.Logger
}

func newForwarder(ctx context.Context, to []netip.AddrPort, log *slog.Logger) *forwarder {
	return &forwarder{ctx: ctx, to: to, quota: newQuota(openForwards, forwardsPerHost), log: log}
}

func (f *forwarder) available() bool { return len(f.to) > 0 }

// ask passes a question on to one recursor after the other until one answers
// it, over the transport that the client uses. It is nil when none does, and
// at once when the client, or all of them, wait for too many already.
func (f *forwarder) ask(req *dns.Msg, client netip.Addr, udp bool) *dns.Msg {
	if !f.quota.take(client) {
		return nil
	}
	defer f.quota.give(client)
	q := new(dns.Msg)
	q.Id = dns.Id()
	q.RecursionDesired, q.CheckingDisabled, q.AuthenticatedData = true, req.CheckingDisabled, req.AuthenticatedData
	q.Question = []dns.Question{req.Question[0]}
	opt := req.IsEdns0()
	q.SetEdns0(maxUDP, opt != nil && opt.Do())
	for _, to := range f.to {
		resp, err := f.exchange(q, to, udp)
		if err == nil {
			return resp
		}
		f.log.Debug("dns question not answered", "recursor", to, "error", err)
		if f.ctx.Err() != nil {
			return nil
		}
	}
	return nil
}

func (f *forwarder) exchange(q *dns.Msg, to netip.AddrPort, udp bool) (*dns.Msg, error) {
	network := "tcp"
	if udp {
		network = "udp"
	}
	ctx, cancel := context.WithTimeout(f.ctx, forwardTimeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	defer raw.Close()
	c := dns.Client{Net: network, Timeout: forwardTimeout, UDPSize: maxUDP}
	resp, _, err := c.ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: raw})
	switch {
	case err != nil:
		return nil, fmt.Errorf("exchange: %w", err)
	case !resp.Response || !sameQuestion(resp.Question, q.Question[0]):
		return nil, errors.New("the answer is not to the question")
	case resp.Rcode == dns.RcodeServerFailure || resp.Rcode == dns.RcodeRefused:
		return nil, fmt.Errorf("it says %s", dns.RcodeToString[resp.Rcode])
	}
	return resp, nil
}

// sameQuestion says whether an answer repeats the question. The case of the
// name may differ: not all recursors keep it.
func sameQuestion(all []dns.Question, q dns.Question) bool {
	return len(all) == 1 && all[0].Qtype == q.Qtype && all[0].Qclass == q.Qclass && strings.EqualFold(all[0].Name, q.Name)
}
