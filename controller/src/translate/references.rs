//! What objects refer to by name, before it is looked up.

use std::collections::BTreeSet;

use gatehouse_crds::CertificateRef;

use super::{ObjectId, ingress};
use crate::resources::{ObjectKey, Resources};

/// Every Secret and ConfigMap whose content translation may read. Others need not be in [`Resources`].
pub fn wanted(resources: &Resources) -> BTreeSet<ObjectId> {
    let secrets = secrets(resources).map(|key| ObjectId { kind: "Secret", key });
    let config_maps = config_maps(resources).map(|key| ObjectId { kind: "ConfigMap", key });
    secrets.chain(config_maps).collect()
}

fn config_maps(resources: &Resources) -> impl Iterator<Item = ObjectKey> {
    let of_backends = resources.backend_tls_policies.iter().flat_map(|(policy, object)| {
        let authorities = object.spec.validation.ca_certificate_refs.iter();
        authorities.map(|reference| ObjectKey::new(&policy.namespace, &reference.name))
    });
    let of_clients = resources.gateways.iter().flat_map(|(gateway, object)| {
        let frontend = object.spec.tls.iter().filter_map(|tls| tls.frontend.as_ref());
        let places = frontend
            .flat_map(|frontend| frontend.per_port.iter().map(|one| &one.tls).chain([&frontend.default]));
        let validations = places.filter_map(|tls| tls.validation.as_ref());
        validations
            .flat_map(|validation| &validation.ca_certificate_refs)
            .map(move |reference| referred(reference, gateway))
    });
    let of_redis = resources.gateway_configs.iter().filter_map(|(config, object)| {
        let tls = object.spec.redis.as_ref()?.tls.as_ref()?;
        Some(ObjectKey::new(&config.namespace, &tls.ca_config_map_ref.as_ref()?.name))
    });
    let of_issuers = resources.auth_policies.iter().flat_map(|(policy, object)| {
        let jwks = object.spec.any_of.iter().filter_map(|method| method.jwt.as_ref()?.jwks.as_ref());
        let authorities = jwks.flat_map(|jwks| &jwks.ca_refs);
        authorities.map(|reference| ObjectKey::new(&policy.namespace, &reference.name))
    });
    of_backends.chain(of_clients).chain(of_issuers).chain(of_redis)
}

fn referred(reference: &CertificateRef, holder: &ObjectKey) -> ObjectKey {
    ObjectKey::new(reference.namespace.as_deref().unwrap_or(&holder.namespace), &reference.name)
}

fn secrets(resources: &Resources) -> impl Iterator<Item = ObjectKey> {
    let own = resources.gateways.iter().flat_map(|(gateway, object)| {
        let own = object.spec.tls.iter();
        let own = own.filter_map(|tls| tls.backend.as_ref()?.client_certificate_ref.as_ref());
        own.map(move |reference| referred(reference, gateway))
    });
    let gateways = resources.gateways.iter().map(|(key, gateway)| (key, &gateway.spec.listeners));
    let sets = resources.listener_sets.iter().map(|(key, set)| (key, &set.spec.listeners));
    let certificates = gateways.chain(sets).flat_map(|(holder, listeners)| {
        let tls = listeners.iter().filter_map(|listener| listener.tls.as_ref());
        tls.flat_map(|tls| &tls.certificate_refs).map(move |reference| referred(reference, holder))
    });
    let credentials = resources.consumers.iter().flat_map(|(consumer, object)| {
        let credentials = object.spec.credentials.iter();
        credentials
            .filter_map(|credential| {
                let key = credential.api_key.as_ref().map(|api_key| &api_key.secret_ref.name);
                key.or_else(|| credential.basic.as_ref().map(|basic| &basic.password_secret_ref.name))
            })
            .map(|secret| ObjectKey::new(&consumer.namespace, secret))
    });
    let jwt_keys = resources.auth_policies.iter().flat_map(|(policy, object)| {
        let methods = object.spec.any_of.iter().filter_map(|method| method.jwt.as_ref());
        methods
            .filter_map(|jwt| jwt.secret_ref.as_ref())
            .map(|secret| ObjectKey::new(&policy.namespace, &secret.name))
    });
    let signing_keys = resources.auth_policies.iter().filter_map(|(policy, object)| {
        let token = object.spec.identity.as_ref()?.token.as_ref()?;
        Some(ObjectKey::new(&policy.namespace, &token.secret_ref.name))
    });
    let redis = resources.gateway_configs.iter().flat_map(|(config, object)| {
        let redis = object.spec.redis.iter();
        let names = redis.flat_map(|redis| {
            let sentinel = redis.sentinel.as_ref().and_then(|sentinel| sentinel.password_secret_ref.as_ref());
            let passwords = redis.password_secret_ref.iter().chain(sentinel).map(|secret| &secret.name);
            let shown = redis.tls.as_ref().and_then(|tls| tls.client_certificate_ref.as_ref());
            let url = redis.url_secret_ref.iter().map(|secret| &secret.name);
            url.chain(passwords).chain(shown.map(|secret| &secret.name))
        });
        names.map(|name| ObjectKey::new(&config.namespace, name))
    });
    let of_ingresses = ingress::secrets(resources);
    certificates
        .chain(own)
        .chain(of_ingresses)
        .chain(credentials)
        .chain(jwt_keys)
        .chain(signing_keys)
        .chain(redis)
}
