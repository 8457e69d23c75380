// Package conformance runs the Gateway API's conformance suite against the cluster of KUBECONFIG. What is tested is what the
// GatewayClass publishes in status.supportedFeatures, with the profiles of the route kinds among it; no test is skipped and
// no time limit is changed.
package conformance

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance"
	report "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
	"sigs.k8s.io/yaml"
)

// The names of the tests to run, for work on one of them; empty: all that the published features call for.
var only = flag.String("only", "", "tests to run, by name, with commas between them")

// profiles of gateways, with the feature that stands for each.
var profiles = []struct {
	name  suite.ConformanceProfileName
	route features.FeatureName
}{
	{suite.GatewayHTTPConformanceProfileName, features.SupportHTTPRoute},
	{suite.GatewayGRPCConformanceProfileName, features.SupportGRPCRoute},
	{suite.GatewayTLSConformanceProfileName, features.SupportTLSRoute},
	{suite.GatewayTCPConformanceProfileName, features.SupportTCPRoute},
	{suite.GatewayUDPConformanceProfileName, features.SupportUDPRoute},
}

func TestConformance(t *testing.T) {
	started := time.Now()
	options := conformance.DefaultOptions(t)
	wanted := published(t, &options)
	// A profile brings its core features with it, published or not.
	for _, profile := range profiles {
		if wanted.Has(profile.route) {
			options.ConformanceProfiles = append(options.ConformanceProfiles, profile.name)
		}
	}
	if *only == "" {
		// Cleanups run last to first: the suite has written its report by then.
		t.Cleanup(func() { show(t, options.ReportOutputPath, time.Since(started)) })
	} else {
		options.SupportedFeatures = sets.List(wanted.Union(choose(t, strings.Split(*only, ","))))
	}

	conformance.RunConformanceWithOptions(t, options)
}

// published are the features of the GatewayClass, which the suite reads for itself when all tests run.
func published(t *testing.T, options *suite.ConformanceOptions) sets.Set[features.FeatureName] {
	class := &gatewayv1.GatewayClass{}
	require.NoError(t, options.Client.Get(t.Context(), types.NamespacedName{Name: options.GatewayClassName}, class))
	found := sets.New[features.FeatureName]()
	for _, feature := range class.Status.SupportedFeatures {
		found.Insert(features.FeatureName(feature.Name))
	}
	return found
}

// choose leaves only the named tests, and returns the features that they need.
func choose(t *testing.T, names []string) sets.Set[features.FeatureName] {
	var chosen []suite.ConformanceTest
	needed := sets.New[features.FeatureName]()
	for _, name := range names {
		index := slices.IndexFunc(tests.ConformanceTests, func(test suite.ConformanceTest) bool { return test.ShortName == name })
		require.GreaterOrEqual(t, index, 0, "the suite has no test %s", name)
		chosen = append(chosen, tests.ConformanceTests[index])
		needed.Insert(tests.ConformanceTests[index].Features...)
	}
	tests.ConformanceTests = chosen
	return needed
}

// show prints a line a profile. A test that several profiles share counts in each.
func show(t *testing.T, path string, took time.Duration) {
	file, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("no report: %v", err)
		return
	}
	var whole report.ConformanceReport
	require.NoError(t, yaml.Unmarshal(file, &whole))
	fmt.Printf("\n%-14s %28s %28s %10s\n", "", "core", "extended", "features")
	fmt.Printf("%-14s %28s %28s %10s\n", "profile", "passed failed skipped total", "passed failed skipped total", "published")
	for _, profile := range profiles {
		index := slices.IndexFunc(whole.ProfileReports, func(one report.ProfileReport) bool { return one.Name == string(profile.name) })
		if index < 0 {
			fmt.Printf("%-14s %s is not published\n", profile.name, profile.route)
			continue
		}
		found := whole.ProfileReports[index]
		var extended report.ExtendedStatus
		if found.Extended != nil {
			extended = *found.Extended
		}
		of := len(extended.SupportedFeatures) + len(extended.UnsupportedFeatures)
		share := fmt.Sprintf("%d/%d", len(extended.SupportedFeatures), of)
		fmt.Printf("%-14s %s %s %10s\n", found.Name, line(found.Core), line(extended.Status), share)
	}
	fmt.Printf("\n%s, channel %s; %s\n", whole.GatewayAPIVersion, whole.GatewayAPIChannel, took.Round(time.Second))
}

func line(status report.Status) string {
	counts := status.Statistics
	total := counts.Passed + counts.Failed + counts.Skipped
	return fmt.Sprintf("%7d %6d %7d %5d", counts.Passed, counts.Failed, counts.Skipped, total)
}
