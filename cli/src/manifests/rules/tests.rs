use serde_json::json;

use crate::manifests::{
    admit::admit,
    kinds::{Known, find},
    read::Document,
    read::documents,
};

fn problems(text: &str) -> Vec<String> {
    documents(text)
        .into_iter()
        .flat_map(|document| admit(&document.unwrap(), "x.yaml").1)
        .map(|problem| problem.to_string())
        .collect()
}

/// What we serve by `run` is held to the same rules as in a cluster: none of them may be beyond us unnoticed.
#[test]
fn every_rule_of_every_kind_compiles() {
    for (version, kind) in [
        ("gatehouse.dev/v1alpha1", "GatewayRoute"),
        ("gatehouse.dev/v1alpha1", "AuthPolicy"),
        ("gatehouse.dev/v1alpha1", "RateLimitPolicy"),
        ("gatehouse.dev/v1alpha1", "TrafficPolicy"),
        ("gatehouse.dev/v1alpha1", "Consumer"),
        ("gatehouse.dev/v1alpha1", "GatewayConfig"),
        ("gateway.networking.k8s.io/v1", "Gateway"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("gateway.networking.k8s.io/v1", "GRPCRoute"),
    ] {
        let Known::Kind(schema) = find(version, kind) else { panic!("{kind} is not known") };
        let mut count = 0;
        schema.each_rule(&mut |rule| {
            count += 1;
            assert!(super::ENV.compile(&rule.expression).is_ok(), "{kind}: {}", rule.expression);
        });
        assert!(count > 0, "{kind} has rules");
    }
}

#[test]
fn a_broken_rule_is_named_with_its_line() {
    let text = "apiVersion: gatehouse.dev/v1alpha1\nkind: GatewayRoute\nmetadata:\n  name: r\nspec:\n  parentRefs: \
                [{name: g}]\n  rules:\n  - name: both\n    redirect: {scheme: https}\n    respond: {status: 200}\n";
    assert_eq!(
        problems(text),
        [
            "x.yaml:8: GatewayRoute default/r: spec.rules[0]: give exactly one of backendRefs, redirect, respond and aggregate"
        ]
    );
}

#[test]
fn defaults_are_filled_in_and_misspelt_fields_are_named() {
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r"},
        "spec": {"parentRefs": [{"name": "g"}], "rules": [{"backendRef": [], "backendRefs": [{"name": "s", "port": 80}]}]},
    });
    let (value, problems) = admit(&Document::made(route), "x.yaml");
    let value = value.unwrap();
    assert_eq!(value["spec"]["rules"][0]["matches"][0]["path"], json!({"type": "PathPrefix", "value": "/"}));
    assert_eq!(value["spec"]["rules"][0]["backendRefs"][0]["weight"], 1);
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("spec.rules[0].backendRef") && said[0].contains("did you mean backendRefs?"),
        "{said:?}"
    );
}

#[test]
fn what_a_schema_refuses_is_told_with_field_and_line() {
    for (text, wanted) in [
        (
            "apiVersion: gatehouse.dev/v1alpha1\nkind: Consumer\nmetadata:\n  name: c\nspec:\n  tier: 7\n",
            "x.yaml:6: Consumer default/c: spec.tier: ",
        ),
        (
            "apiVersion: gatehouse.dev/v1alpha1\nkind: Consumers\nmetadata:\n  name: c\n",
            "did you mean Consumer?",
        ),
        ("kind: Consumer\n", "apiVersion is missing"),
        ("apiVersion: gatehouse.dev/v1alpha1\nkind: Consumer\nspec: {}\n", "metadata"),
    ] {
        let said = problems(text);
        assert!(said.len() == 1 && said[0].contains(wanted), "{said:?} lacks {wanted:?}");
    }
}

/// Nothing that these objects use is beyond the `cel` crate.
#[test]
fn no_rule_is_skipped_on_objects_that_use_much() {
    let route = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  hostnames: [a.example.com, '*.example.com']
  parentRefs:
  - {name: g, sectionName: http}
  - {name: g, namespace: other, port: 8080}
  rules:
  - name: one
    matches:
    - path: {type: PathPrefix, value: /a/b}
      method: GET
      headers: [{name: x, type: RegularExpression, value: 'a+'}]
      queryParams: [{name: q, value: '1'}]
    - path: {type: Exact, value: /c}
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: a, value: b}], add: [{name: c, value: d}], remove: [e]}
    - type: ResponseHeaderModifier
      responseHeaderModifier: {set: [{name: a, value: b}]}
    - type: URLRewrite
      urlRewrite: {hostname: b.example.com, path: {type: ReplaceFullPath, replaceFullPath: /}}
    timeouts: {request: 10s, backendRequest: 1s}
    backendRefs:
    - {name: s, port: 80, weight: 3}
    - name: t
      namespace: other
      port: 80
      filters:
      - type: RequestHeaderModifier
        requestHeaderModifier: {remove: [x]}
  - filters:
    - type: RequestRedirect
      requestRedirect: {scheme: https, port: 443, statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
    matches: [{path: {value: /old}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec:
  gatewayClassName: gatehouse
  addresses: [{value: 10.0.0.1}]
  listeners:
  - {name: http, protocol: HTTP, port: 80, allowedRoutes: {namespaces: {from: All}}}
  - name: https
    protocol: HTTPS
    port: 443
    hostname: '*.example.com'
    tls: {mode: Terminate, certificateRefs: [{name: c}, {name: d, namespace: other}]}
    allowedRoutes: {kinds: [{kind: HTTPRoute}], namespaces: {from: Selector, selector: {matchLabels: {a: b}}}}
";
    let orders = ["gateway", "routes", "policies", "consumers"]
        .map(|name| format!("{}/../examples/orders/{name}.yaml", env!("CARGO_MANIFEST_DIR")))
        .map(|path| std::fs::read_to_string(path).expect("an example"));
    let mut decided = 0;
    for text in orders.iter().map(String::as_str).chain([route]) {
        for document in documents(text) {
            let mut value = document.expect("valid YAML").value;
            let (version, kind) = (value["apiVersion"].as_str(), value["kind"].as_str());
            let Known::Kind(schema) = find(version.unwrap_or(""), kind.unwrap_or("")) else {
                panic!("{value}")
            };
            assert_eq!(schema.complete(&mut value), []);
            assert_eq!(schema.check(&value), []);
            schema.rules_at(&value, "", &mut |rule, path, context| {
                decided += 1;
                let verdict = rule.decide(context);
                assert_eq!(verdict, super::Verdict::Holds, "{path}: {}", rule.expression);
            });
        }
    }
    assert!(decided > 100, "{decided}");
}

/// To compile one takes longer than everything else about a route.
#[test]
fn expressions_of_rules_are_kept() {
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n  rules:\n  - matches: \
                 [{path: {value: /a}}]\n";
    let kept = || super::EXPRESSIONS.with_borrow(std::collections::HashMap::len);
    assert_eq!(problems(route), [""; 0]);
    let first = kept();
    assert!(first > 0, "the path is held to an expression");
    assert!(problems(&route.replace("/a", "/a?")).concat().contains("must only contain valid characters"));
    assert_eq!(kept(), first);
}
