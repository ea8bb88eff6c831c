//! The gRPC service config: what a stock client library does by itself when the
//! server is away, or a call is lost.

use crate::interface::{Interface, Method, Service};

/// Begins what every library reads; the methods follow.
const WAITS_AND_REPEATS: &str = r#"      "waitForReady": true,
      "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.2s",
        "maxBackoff": "5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }"#;
const WAITS: &str = r#"      "waitForReady": true"#;

/// A client repeats no more than one call in ten when all fail.
const THROTTLING: &str = r#"  "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1}"#;

pub(crate) fn text(interface: &Interface) -> String {
    let repeated = methods(interface, |method| method.repeats.is_for_libraries());
    let others = methods(interface, |method| !method.repeats.is_for_libraries());
    format!(
        "{{\n  \"methodConfig\": [\n    {{\n{repeated},\n{WAITS_AND_REPEATS}\n    }},\n    \
         {{\n{others},\n{WAITS}\n    }}\n  ],\n{THROTTLING}\n}}\n"
    )
}

fn methods(interface: &Interface, wanted: impl Fn(&Method) -> bool) -> String {
    let name = |service: &Service, method: &Method| {
        format!(
            "        {{\"service\": \"artifactd.v1.{}\", \"method\": \"{}\"}}",
            service.name, method.name
        )
    };
    let names: Vec<String> = interface
        .services()
        .flat_map(|service| service.methods.iter().map(move |method| (service, method)))
        .filter(|(_, method)| wanted(method))
        .map(|(service, method)| name(service, method))
        .collect();
    format!("      \"name\": [\n{}\n      ]", names.join(",\n"))
}
