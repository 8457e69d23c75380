//! Rewriting of path and host (HTTPURLRewriteFilter). The query is never touched.

use std::borrow::Cow;

use gatehouse_proto::config::v1::{self, path_rewrite::Kind};
use http::HeaderValue;

use super::{InvalidFilter, substitution::Substitution};
use crate::{Reason, http::target::canonical_path, route::normal_prefix};

/// Most rules rewrite nothing, and take one word for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rewrite(Option<Box<Parts>>);

#[derive(Debug, Clone)]
struct Parts {
    host: Option<HeaderValue>,
    path: Option<PathRewrite>,
}

#[derive(Debug, Clone)]
pub(crate) enum PathRewrite {
    Full(Box<str>),
    /// Takes the place of the prefix that matched; held without a trailing slash.
    Prefix(Box<str>),
    Expression(Box<Substitution>),
}

impl Rewrite {
    pub(crate) fn compile(rewrite: Option<&v1::Rewrite>) -> Result<Self, InvalidFilter> {
        let Some(rewrite) = rewrite else { return Ok(Rewrite::default()) };
        let host = (!rewrite.hostname.is_empty())
            .then(|| HeaderValue::from_str(&rewrite.hostname))
            .transpose()
            .map_err(|_| InvalidFilter(format!("{:?} is no host name", rewrite.hostname)))?;
        Ok(Rewrite(Some(Box::new(Parts { host, path: PathRewrite::compile(rewrite.path.as_ref())? }))))
    }

    /// Takes the place of the request's.
    pub(crate) fn host(&self) -> Option<&HeaderValue> {
        self.0.as_ref()?.host.as_ref()
    }

    pub(crate) fn path(&self) -> Option<&PathRewrite> {
        self.0.as_ref()?.path.as_ref()
    }
}

impl PathRewrite {
    pub(crate) fn compile(rewrite: Option<&v1::PathRewrite>) -> Result<Option<Self>, InvalidFilter> {
        let Some(kind) = rewrite.and_then(|rewrite| rewrite.kind.as_ref()) else { return Ok(None) };
        let checked = |path: &str| {
            let rooted = if path.is_empty() { "/" } else { path };
            canonical_path(rooted).map(|canonical| Box::from(&*canonical)).map_err(|_| {
                InvalidFilter(format!("{path:?} is no path: begin with `/` and escape what needs it"))
            })
        };
        Ok(Some(match kind {
            Kind::Full(path) => PathRewrite::Full(checked(path)?),
            Kind::Prefix(prefix) => PathRewrite::Prefix(normal_prefix(&checked(prefix)?).into()),
            Kind::Expression(expression) => {
                PathRewrite::Expression(Box::new(Substitution::compile(expression)?))
            }
        }))
    }

    /// `matched` is the length of the prefix that the rule took. Exactly one slash stands at the join; later slashes
    /// of the client stay. The result is canonical again, or refused.
    pub(crate) fn apply<'a>(&'a self, path: &'a str, matched: Option<usize>) -> Result<Cow<'a, str>, Reason> {
        match self {
            PathRewrite::Full(path) => Ok(Cow::Borrowed(path)),
            PathRewrite::Expression(substitution) => match substitution.apply(path) {
                None => Ok(Cow::Borrowed(path)),
                // What groups took may be put together to anything.
                Some(made) => canonical_path(&made).map(|canonical| Cow::Owned(canonical.into_owned())),
            },
            PathRewrite::Prefix(replacement) => {
                // Without a prefix match the whole path stands for the prefix.
                let rest = &path[matched.unwrap_or(path.len())..];
                let joined = match (replacement.is_empty(), rest.is_empty()) {
                    (true, true) => Cow::Borrowed("/"),
                    (true, false) => Cow::Owned(format!("/{}", rest.trim_start_matches('/'))),
                    (false, true) => Cow::Borrowed(&**replacement),
                    (false, false) => Cow::Owned(format!("{replacement}/{}", rest.trim_start_matches('/'))),
                };
                // Cutting at segment borders can't make dot segments; this holds whatever cutting becomes.
                match canonical_path(&joined)? {
                    canonical if canonical == joined => Ok(joined),
                    _ => Err(Reason::BadRequest),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_proto::config::v1::{self, path_rewrite::Kind};

    use super::PathRewrite;
    use crate::{Reason, route::normal_prefix};

    /// Every prefix, replacement and request of peers' double-slash bugs.
    #[test]
    fn one_slash_at_the_join() {
        for prefix in ["/p", "/p/"] {
            for (replacement, wanted) in [
                ("", ["/", "/", "/x", "/x/", "/x"]),
                ("/", ["/", "/", "/x", "/x/", "/x"]),
                ("/q", ["/q", "/q/", "/q/x", "/q/x/", "/q/x"]),
                ("/q/", ["/q", "/q/", "/q/x", "/q/x/", "/q/x"]),
            ] {
                let rewrite = v1::PathRewrite { kind: Some(Kind::Prefix(replacement.into())) };
                let rewrite = PathRewrite::compile(Some(&rewrite)).unwrap().unwrap();
                for (path, wanted) in ["/p", "/p/", "/p/x", "/p/x/", "/p//x"].into_iter().zip(wanted) {
                    let matched = Some(normal_prefix(prefix).len());
                    assert_eq!(
                        rewrite.apply(path, matched).as_deref(),
                        Ok(wanted),
                        "{prefix} -> {replacement:?}: {path}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_whole_path() {
        let rewrite = v1::PathRewrite { kind: Some(Kind::Full("/one".into())) };
        let rewrite = PathRewrite::compile(Some(&rewrite)).unwrap().unwrap();
        assert_eq!(rewrite.apply("/p/x", Some(2)).as_deref(), Ok("/one"));
        let bad = v1::PathRewrite { kind: Some(Kind::Full("no slash".into())) };
        assert!(PathRewrite::compile(Some(&bad)).is_err());
    }

    #[test]
    fn what_groups_matched() {
        let compile = |pattern: &str, substitution: &str| {
            let (pattern, substitution) = (pattern.into(), substitution.into());
            let kind = Kind::Expression(v1::PathExpression { pattern, substitution });
            PathRewrite::compile(Some(&v1::PathRewrite { kind: Some(kind) })).map(Option::unwrap)
        };
        for (pattern, substitution, path, wanted) in [
            ("/x(/|$)(.*)", "/$2", "/x/a/b", Ok("/a/b")),
            ("/x(/|$)(.*)", "/$2", "/x", Ok("/")),
            ("/x(/|$)(.*)", "/$2", "/y", Ok("/y")),
            ("(?i)/v(?<v>[0-9]+)/(.*)", "/$2/${v}/$$10", "/V7/a", Ok("/a/7/$10")),
            ("/(.*)", "$1", "/a", Err(Reason::BadRequest)),
            ("/([^/]*)/([^/]*)", "/$1/.$2", "/a/./b", Ok("/a/./b")),
            ("/(.*)/x", "/$1", "/../x", Err(Reason::BadRequest)),
        ] {
            let rewrite = compile(pattern, substitution).unwrap();
            assert_eq!(rewrite.apply(path, None).as_deref(), wanted.as_ref().copied(), "{pattern}: {path}");
        }
        for (pattern, substitution) in
            [("/(", "/"), ("/a", "/$1"), ("/(.)", "/${v}"), ("/(.)", "/$x"), ("/", "/$")]
        {
            assert!(compile(pattern, substitution).is_err(), "{pattern} {substitution}");
        }
    }
}
