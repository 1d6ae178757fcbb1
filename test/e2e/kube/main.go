// SPDX-License-Identifier: Apache-2.0

// kube is the real Kubernetes of the end-to-end tests in one program: etcd, the API server and kubectl,
// compiled from their released modules. It goes by the name it is called with (a link named "kubectl" is
// kubectl), else by its first argument.
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// One row per program. The kubelet and the controllers become rows of their own when a test needs them.
var programs = []struct {
	name string
	what string
	run  func(args []string) int
}{
	{"etcd", "DATA-DIR CLIENT-URL PEER-URL: one member, no authentication, until SIGTERM", runEtcd},
	{"etcd-compact", "CLIENT-URL [REVISION]: forget everything before the revision (default: now), prints it", runCompact},
	{"apiserver", "kube-apiserver with its own flags", runAPIServer},
	{"kubectl", "kubectl with its own arguments", runKubectl},
}

func main() {
	if run := find(filepath.Base(os.Args[0])); run != nil {
		os.Exit(run(os.Args[1:]))
	}
	if len(os.Args) > 1 {
		if run := find(os.Args[1]); run != nil {
			// Cobra and kubectl's plug-in handler look at os.Args themselves.
			os.Args = os.Args[1:]
			os.Exit(run(os.Args[1:]))
		}
	}
	fmt.Fprintln(os.Stderr, "usage: kube PROGRAM [ARGUMENTS]")
	for _, p := range programs {
		fmt.Fprintf(os.Stderr, "  %-14s %s\n", p.name, p.what)
	}
	os.Exit(2)
}

func find(name string) func([]string) int {
	for _, p := range programs {
		if p.name == name {
			return p.run
		}
	}
	return nil
}

func fail(what string, err error) int {
	fmt.Fprintf(os.Stderr, "kube: %s: %v\n", what, err)
	return 1
}

func runEtcd(args []string) int {
	if len(args) != 3 {
		fmt.Fprintln(os.Stderr, "kube: etcd wants DATA-DIR CLIENT-URL PEER-URL")
		return 2
	}
	client, err := url.Parse(args[1])
	if err != nil {
		return fail("client URL", err)
	}
	peer, err := url.Parse(args[2])
	if err != nil {
		return fail("peer URL", err)
	}

	config := embed.NewConfig()
	config.Name = "e2e"
	config.Dir = args[0]
	config.ListenClientUrls = []url.URL{*client}
	config.AdvertiseClientUrls = []url.URL{*client}
	config.ListenPeerUrls = []url.URL{*peer}
	config.AdvertisePeerUrls = []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel = "warn"
	// Test data need not survive a power cut, and an fsync per write is most of what a busy disk costs.
	config.UnsafeNoFsync = true

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fail("etcd", err)
	}
	defer server.Close()

	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		return fail("etcd", err)
	case <-stop:
		return 0
	}
	fmt.Println("ready")

	select {
	case err := <-server.Err():
		return fail("etcd", err)
	case <-stop:
		return 0
	}
}

func runCompact(args []string) int {
	if len(args) < 1 || len(args) > 2 {
		fmt.Fprintln(os.Stderr, "kube: etcd-compact wants CLIENT-URL [REVISION]")
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: args[:1], Context: ctx})
	if err != nil {
		return fail("etcd client", err)
	}
	defer client.Close()

	var revision int64
	if len(args) == 2 {
		revision, err = strconv.ParseInt(args[1], 10, 64)
		if err != nil {
			return fail("revision", err)
		}
	} else {
		now, err := client.Get(ctx, "now", clientv3.WithCountOnly())
		if err != nil {
			return fail("etcd", err)
		}
		revision = now.Header.Revision
	}
	if _, err := client.Compact(ctx, revision); err != nil {
		return fail("compaction", err)
	}
	fmt.Println(revision)
	return 0
}

func runAPIServer(args []string) int {
	return runCobra(apiserver.NewAPIServerCommand(), args)
}

func runCobra(command *cobra.Command, args []string) int {
	command.SetArgs(args)
	return cli.Run(command)
}

func runKubectl(args []string) int {
	command := kubectl.NewDefaultKubectlCommand()
	command.SetArgs(args)
	if err := cli.RunNoErrOutput(command); err != nil {
		kubectlutil.CheckErr(err)
	}
	return 0
}
