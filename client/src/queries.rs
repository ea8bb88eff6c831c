//! Calls that find many artifacts at once, or count them.

use std::collections::VecDeque;

use artifactd_domain::{ArtifactRef, Visibility, search::Rank};
use artifactd_proto::v1 as pb;
use futures::{Stream, stream};

use crate::{Artifact, Client, Error, ListOptions, Result, convert, filter::Filter};

/// References in one call.
const REFERENCES_MAX: usize = 1_000;

/// How many artifacts there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// So many match, or more.
    pub count: u64,
    /// Whether there are more.
    pub more: bool,
}

/// What to search for.
#[derive(Debug, Clone, Default)]
pub struct SearchOptions {
    /// Artifacts fetched at once; the server's default when 0.
    pub page_size: u32,
    /// Among which artifacts, in the language of `artifactd_domain::filter`; all when empty.
    pub filter: String,
    /// Among which visibilities, as for a list.
    pub visibilities: Vec<Visibility>,
}

/// An artifact that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The artifact.
    pub artifact: Artifact,
    /// How well it matches.
    pub rank: Rank,
}

impl Client {
    /// Finds artifacts that match, newest first; pages are fetched as they are needed.
    ///
    /// [`Client::list`] takes orders and visibilities too.
    pub fn find(&self, filter: &Filter) -> impl Stream<Item = Result<Artifact>> + Send + use<> {
        self.list(ListOptions {
            filter: filter.to_string(),
            ..ListOptions::default()
        })
    }

    /// Finds artifacts by words, the better matches first; pages are fetched as they are needed.
    pub fn search(&self, query: &str, options: SearchOptions) -> impl Stream<Item = Result<Hit>> + Send + use<> {
        let message = pb::SearchArtifactsRequest {
            query: query.to_owned(),
            filter: options.filter,
            visibilities: options
                .visibilities
                .iter()
                .map(|v| convert::visibility(*v).into())
                .collect(),
            page_size: i32::try_from(options.page_size).unwrap_or(i32::MAX),
            page_token: String::new(),
            read_mask: None,
        };
        let begin = (self.clone(), Some(message), VecDeque::new());
        stream::try_unfold(begin, |(client, mut next, mut waiting)| async move {
            loop {
                if let Some(hit) = waiting.pop_front() {
                    return Ok(Some((hit, (client, next, waiting))));
                }
                let Some(mut message) = next.take() else {
                    return Ok(None);
                };
                let call = |request| {
                    let mut artifacts = client.artifacts();
                    async move { artifacts.search_artifacts(request).await }
                };
                let page = client.call("SearchArtifacts", message.clone(), call).await?;
                for hit in page.hits {
                    waiting.push_back(found(hit)?);
                }
                if !page.next_page_token.is_empty() {
                    message.page_token = page.next_page_token;
                    next = Some(message);
                }
            }
        })
    }

    /// Finds artifacts by uid, stem, key or text, in the order in which they are named.
    ///
    /// Fails with ARTIFACT_NOT_FOUND when one of them is missing.
    pub async fn get_all(&self, artifacts: impl IntoIterator<Item = ArtifactRef>) -> Result<Vec<Artifact>> {
        let references: Vec<_> = artifacts.into_iter().map(convert::reference).collect();
        let mut found = Vec::with_capacity(references.len());
        for some in references.chunks(REFERENCES_MAX) {
            let message = pb::BatchGetArtifactsRequest {
                artifacts: some.to_vec(),
                ..Default::default()
            };
            let call = |request| {
                let mut artifacts = self.artifacts();
                async move { artifacts.batch_get_artifacts(request).await }
            };
            let answer = self.call("BatchGetArtifacts", message, call).await?;
            found.extend(convert::artifacts(answer.artifacts)?);
        }
        Ok(found)
    }

    /// Counts the artifacts of the space that match a filter, up to a million.
    pub async fn count(&self, filter: &str, visibilities: &[Visibility]) -> Result<Count> {
        let message = pb::CountArtifactsRequest {
            filter: filter.to_owned(),
            visibilities: visibilities.iter().map(|v| convert::visibility(*v).into()).collect(),
            at_most: 0,
        };
        let call = |request| {
            let mut artifacts = self.artifacts();
            async move { artifacts.count_artifacts(request).await }
        };
        let answer = self.call("CountArtifacts", message, call).await?;
        Ok(Count {
            count: answer.count.try_into().unwrap_or_default(),
            more: answer.more,
        })
    }
}

fn found(hit: pb::SearchHit) -> Result<Hit> {
    let rank = match hit.rank() {
        pb::SearchRank::Exact => Rank::Exact,
        pb::SearchRank::Prefix => Rank::Prefix,
        pb::SearchRank::Words => Rank::Words,
        pb::SearchRank::Parts => Rank::Parts,
        pb::SearchRank::Unspecified => return Err(Error::Answer(format!("search rank {}", hit.rank))),
    };
    let artifact = convert::some(hit.artifact)?;
    Ok(Hit { artifact, rank })
}
