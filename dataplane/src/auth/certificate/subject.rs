//! A distinguished name as text (RFC 4514): the last part first, `CN=orders,O=Example`.

use x509_parser::{
    oid_registry::{
        OID_DOMAIN_COMPONENT, OID_PKCS9_EMAIL_ADDRESS, OID_USERID, OID_X509_COMMON_NAME,
        OID_X509_COUNTRY_NAME, OID_X509_LOCALITY_NAME, OID_X509_ORGANIZATION_NAME,
        OID_X509_ORGANIZATIONAL_UNIT, OID_X509_SERIALNUMBER, OID_X509_STATE_OR_PROVINCE_NAME,
        OID_X509_STREET_ADDRESS, Oid,
    },
    x509::{AttributeTypeAndValue, X509Name},
};

/// `None` if it is empty, or holds what has no short name or is no text: then it names nobody, for what can't be told
/// apart must not be taken for the same.
pub(super) fn text(name: &X509Name<'_>) -> Option<String> {
    let parts: Vec<_> = name.iter_rdn().collect();
    let parts = parts.into_iter().rev().map(|part| {
        let attributes = part.iter().map(attribute).collect::<Option<Vec<_>>>()?;
        Some(attributes.join("+"))
    });
    let text = parts.collect::<Option<Vec<_>>>()?.join(",");
    (!text.is_empty()).then_some(text)
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let kind = short_name(attribute.attr_type())?;
    let value = attribute.as_str().ok()?;
    let mut text = format!("{kind}=");
    for (at, character) in value.char_indices() {
        let is_last = at + character.len_utf8() == value.len();
        let is_special = matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (character == '#' && at == 0)
            || (character == ' ' && (at == 0 || is_last));
        if character.is_control() {
            return None;
        }
        if is_special {
            text.push('\\');
        }
        text.push(character);
    }
    Some(text)
}

/// RFC 4514, 3, and what else OpenSSL writes so.
fn short_name(kind: &Oid<'_>) -> Option<&'static str> {
    let known = [
        (OID_X509_COMMON_NAME, "CN"),
        (OID_X509_ORGANIZATION_NAME, "O"),
        (OID_X509_ORGANIZATIONAL_UNIT, "OU"),
        (OID_X509_COUNTRY_NAME, "C"),
        (OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
        (OID_X509_LOCALITY_NAME, "L"),
        (OID_X509_STREET_ADDRESS, "street"),
        (OID_X509_SERIALNUMBER, "serialNumber"),
        (OID_PKCS9_EMAIL_ADDRESS, "emailAddress"),
        (OID_DOMAIN_COMPONENT, "DC"),
        (OID_USERID, "UID"),
    ];
    known.into_iter().find(|(one, _)| one == kind).map(|(_, name)| name)
}
