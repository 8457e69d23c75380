//! The committed code in `src/gen` is what the generator makes of the `.proto` files.
//!
//! `UPDATE=1 cargo test -p gatehouse-proto` writes it.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::{fs, path::Path};

const PACKAGE: &str = "gatehouse.config.v1";

/// Enum fields and the function in `show` that prints them.
const ENUM_FIELDS: [(&str, &str); 12] = [
    ("Listener.protocol", "protocol"),
    ("Certificate.private_key_kind", "private_key_kind"),
    ("PathMatch.kind", "path_kind"),
    ("ValueMatch.kind", "value_kind"),
    ("Service.protocol", "upstream_protocol"),
    ("Limit.algorithm", "algorithm"),
    ("RateLimit.scope", "limit_scope"),
    ("RateLimit.store", "limit_store"),
    ("RateLimit.on_store_failure", "store_failure"),
    ("RateLimit.accuracy", "limit_accuracy"),
    ("AggregatePart.on_failure", "part_failure"),
    ("Resource.version", "hex"),
];

#[test]
fn the_generated_code_is_fresh() {
    let mut config = tonic_prost_build::Config::new();
    config.bytes([format!(".{PACKAGE}.Batch.upserts")]);
    config.type_attribute(".", "#[derive(serde::Serialize)]");
    config.type_attribute(".", "#[serde(rename_all = \"camelCase\")]");
    for (field, function) in ENUM_FIELDS {
        config.field_attribute(
            format!(".{PACKAGE}.{field}"),
            format!("#[serde(serialize_with = \"crate::show::{function}\")]"),
        );
    }
    for field in ["Held.version", "Rejection.version", "Certificate.private_key", "IdentityToken.key"] {
        config.field_attribute(
            format!(".{PACKAGE}.{field}"),
            "#[serde(serialize_with = \"crate::show::hex\")]",
        );
    }
    for field in ["Certificate.chain", "Batch.upserts"] {
        config.field_attribute(
            format!(".{PACKAGE}.{field}"),
            "#[serde(serialize_with = \"crate::show::hex_each\")]",
        );
    }
    config.skip_debug(
        ["Certificate", "JwtKey", "Credential", "IdentityToken", "Redis", "RedisSentinel", "Batch"]
            .map(|name| format!(".{PACKAGE}.{name}")),
    );
    assert_fresh(PACKAGE, "gatehouse/config/v1/config.proto", config);
}

#[test]
fn so_is_that_of_external_authorization() {
    let config = tonic_prost_build::Config::new();
    assert_fresh("envoy.service.auth.v3", "envoy/service/auth/v3/external_auth.proto", config);
}

fn assert_fresh(package: &str, file: &str, config: tonic_prost_build::Config) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile([file], [root.join("proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure().out_dir(out.path()).compile_fds_with_config(descriptors, config).unwrap();

    let made = fs::read_to_string(out.path().join(format!("{package}.rs"))).unwrap();
    let kept = root.join(format!("src/gen/{package}.rs"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&kept, &made).unwrap();
    }
    assert!(
        fs::read_to_string(&kept).unwrap_or_default() == made,
        "src/gen is stale: run `UPDATE=1 cargo test -p gatehouse-proto`"
    );
}
