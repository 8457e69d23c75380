//! The configuration of ingress-nginx as a cluster holds it. Of the Secrets with users only their names are taken.

use std::fmt::Write;

use gatehouse_controller::translate::nginx::PREFIX;
use serde_json::Value;

use super::input::is_controllers;
use crate::{
    cluster::{Cluster, Kind},
    convert::cluster::{ingresses, name, named, redact, services},
    run::RunError,
};

/// As its IngressClass names it.
const CONTROLLER: &str = "k8s.io/ingress-nginx";
/// Of its Ingresses before there were classes.
const CLASS: &str = "nginx";
/// On all that its chart and its manifests install.
const LABEL: &str = "app.kubernetes.io/name=ingress-nginx";

pub(in crate::convert) fn objects_of(cluster: &Cluster) -> Result<Vec<Value>, RunError> {
    let mut objects = ingresses(cluster, CONTROLLER, CLASS)?;
    let services = services(cluster, &objects)?;
    let mut others = Vec::new();
    for (namespace, name) in named(&objects, &format!("{PREFIX}auth-secret")) {
        if let Some(mut secret) = cluster.get(&Kind::core("Secret"), &namespace, &name)? {
            redact(&mut secret, without_hashes);
            others.push(secret);
        }
    }
    let maps = Kind::core("ConfigMap");
    for (namespace, name) in named(&objects, &format!("{PREFIX}custom-headers")) {
        others.extend(cluster.get(&maps, &namespace, &name)?);
    }
    let of_controller = cluster.labelled(&maps, LABEL)?;
    others.extend(of_controller.into_iter().filter(|map| is_controllers(name(map))));
    objects.extend(services);
    objects.extend(others);
    Ok(objects)
}

/// The users of a file of htpasswd; of `auth-map`, where an entry is a user, nothing.
fn without_hashes(entry: &str, text: &str) -> String {
    let mut users = String::new();
    if entry == "auth" {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for (user, _) in lines.filter_map(|line| line.split_once(':')) {
            let _ = writeln!(users, "{}:", user.trim());
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::without_hashes;

    #[test]
    fn of_users_only_their_names_are_kept() {
        assert_eq!(without_hashes("auth", "# x\nann:$apr1$a:b\nbob:{PLAIN}secret\n\nnobody"), "ann:\nbob:\n");
        assert_eq!(without_hashes("ann", "$apr1$a"), "");
    }
}
