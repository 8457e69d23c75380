//! How messages look as YAML or JSON: enums by name, bytes as hexadecimal.

use serde::Serializer;

use crate::config::v1;

/// Serializes an enum field, which prost keeps as a number, by its protobuf name.
macro_rules! by_name {
    ($($function:ident: $kind:ident),* $(,)?) => {$(
        pub(crate) fn $function<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
            match v1::$kind::try_from(*value) {
                Ok(kind) => serializer.serialize_str(kind.as_str_name()),
                Err(_) => serializer.serialize_i32(*value),
            }
        }
    )*};
}

by_name! {
    protocol: Protocol,
    private_key_kind: PrivateKeyKind,
    path_kind: PathKind,
    value_kind: ValueKind,
    upstream_protocol: UpstreamProtocol,
    algorithm: Algorithm,
    limit_scope: LimitScope,
    limit_store: LimitStore,
    limit_accuracy: LimitAccuracy,
    store_failure: StoreFailure,
    part_failure: PartFailure,
}

pub(crate) fn hex<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = String::with_capacity(2 * value.len());
    for byte in value {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    serializer.serialize_str(&text)
}

pub(crate) fn hex_each<S: Serializer>(values: &[impl AsRef<[u8]>], serializer: S) -> Result<S::Ok, S::Error> {
    struct Hex<'a>(&'a [u8]);

    impl serde::Serialize for Hex<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            hex(self.0, serializer)
        }
    }

    serializer.collect_seq(values.iter().map(|value| Hex(value.as_ref())))
}
