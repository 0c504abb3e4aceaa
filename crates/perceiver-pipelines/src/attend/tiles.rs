//! From the encoder's maps, block by block, to the few that are shown.

use burn::tensor::Tensor;
use perceiver_models::AttentionMaps;

use super::{AttendTiles, AttentionMap};
use crate::{Error, Result};

/// Most maps that are shown side by side.
const MOST: usize = 16;

/// The maps to show.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Selection {
    /// One head, or the average of all.
    pub(super) head: Option<usize>,
    /// One latent of the encoder or query of the decoder.
    pub(super) row: Option<usize>,
    /// The maps to show side by side.
    pub(super) tiles: AttendTiles,
}

/// A map that is a weighted sum of the encoder's maps.
struct Tile {
    head: Option<usize>,
    row: Option<usize>,
    /// `[heads, latents]`: weights of the encoder's maps.
    shares: Vec<f32>,
}

/// How much the outputs attend to each latent.
pub(super) struct Decoder {
    /// `[heads, queries, latents]`
    weights: Vec<f32>,
    heads: usize,
    /// Number of queries in `weights`.
    all: usize,
    /// Number of queries about the input, which come first.
    queries: usize,
    chosen: Vec<usize>,
}

impl Decoder {
    /// `weights` is `[1, heads, queries, latents]`.
    pub(super) fn new(weights: Tensor<4>, queries: usize, chosen: Vec<usize>) -> Self {
        let [_, heads, all, _] = weights.dims();
        Self { weights: floats(weights), heads, all, queries, chosen }
    }

    /// Attention to each latent, averaged over heads and queries.
    fn shares(&self, heads: &[usize], queries: &[usize]) -> Vec<f32> {
        let latents = self.weights.len() / (self.heads * self.all);
        let mut shares = vec![0.0; latents];
        let count = (heads.len() * queries.len()) as f32;
        for &head in heads {
            for &query in queries {
                let start = (head * self.all + query) * latents;
                for (share, weight) in shares.iter_mut().zip(&self.weights[start..]) {
                    *share += weight / count;
                }
            }
        }
        shares
    }
}

/// Maps of the encoder's cross-attention.
pub(super) fn of_encoder(maps: AttentionMaps, selection: Selection) -> Result<Vec<AttentionMap>> {
    let [_, heads, latents, _] = maps.dims();
    let chosen_heads = choose("head", selection.head, heads, (0..heads).collect())?;
    let chosen = choose("latent", selection.row, latents, (0..latents).collect())?;
    if selection.tiles == AttendTiles::Rows && selection.row.is_none() {
        return Ok(sharpest(maps, &chosen_heads, selection.head));
    }
    let shares = |tile_heads: &[usize]| {
        let share = 1.0 / (tile_heads.len() * chosen.len()) as f32;
        let mut shares = vec![0.0; heads * latents];
        for head in tile_heads {
            for row in &chosen {
                shares[head * latents + row] = share;
            }
        }
        shares
    };
    let tiles = by_head(selection, &chosen_heads, shares);
    Ok(sum(tiles, maps))
}

/// Maps of the encoder, weighted by how much the outputs attend to each latent.
pub(super) fn of_decoder(
    decoder: &Decoder,
    maps: AttentionMaps,
    selection: Selection,
) -> Result<Vec<AttentionMap>> {
    let [_, encoder_heads, ..] = maps.dims();
    let heads = choose("head", selection.head, decoder.heads, (0..decoder.heads).collect())?;
    let chosen = choose("query", selection.row, decoder.queries, decoder.chosen.clone())?;
    let over_encoder = |shares: Vec<f32>| {
        let shares: Vec<f32> = shares.iter().map(|share| share / encoder_heads as f32).collect();
        shares.repeat(encoder_heads)
    };
    let tiles = if selection.tiles == AttendTiles::Rows {
        let mut rows: Vec<_> =
            chosen.iter().map(|&query| (query, decoder.shares(&heads, &[query]))).collect();
        rows.sort_by(|(_, one), (_, other)| sharpness(other).total_cmp(&sharpness(one)));
        rows.truncate(MOST);
        let tile = |(query, shares)| Tile {
            head: selection.head,
            row: Some(query),
            shares: over_encoder(shares),
        };
        rows.into_iter().map(tile).collect()
    } else {
        by_head(selection, &heads, |heads| over_encoder(decoder.shares(heads, &chosen)))
    };
    Ok(sum(tiles, maps))
}

/// The requested index if it exists, or the `default` ones if none was requested.
fn choose(
    what: &'static str,
    asked: Option<usize>,
    count: usize,
    default: Vec<usize>,
) -> Result<Vec<usize>> {
    match asked {
        None => Ok(default),
        Some(index) if index < count => Ok(vec![index]),
        Some(index) => Err(Error::OutOfRange { what, index, count }),
    }
}

/// One tile for all heads, or one per head.
fn by_head(
    selection: Selection,
    heads: &[usize],
    shares: impl Fn(&[usize]) -> Vec<f32>,
) -> Vec<Tile> {
    let row = selection.row;
    if selection.tiles == AttendTiles::Heads {
        let tile = |&head: &usize| Tile { head: Some(head), row, shares: shares(&[head]) };
        return heads.iter().map(tile).collect();
    }
    vec![Tile { head: selection.head, row, shares: shares(heads) }]
}

fn sum(tiles: Vec<Tile>, maps: AttentionMaps) -> Vec<AttentionMap> {
    let [_, _, latents, tokens] = maps.dims();
    // In double precision, because there may be hundreds of latents.
    let mut sums = vec![vec![0.0_f64; tokens]; tiles.len()];
    for_each_latent(maps, |latent, heads| {
        for (head, weights) in heads.iter().enumerate() {
            for (tile, sum) in tiles.iter().zip(&mut sums) {
                let share = f64::from(tile.shares[head * latents + latent]);
                if share > 0.0 {
                    for (sum, &weight) in sum.iter_mut().zip(*weights) {
                        *sum += share * f64::from(weight);
                    }
                }
            }
        }
    });
    let map = |(tile, sum): (Tile, Vec<f64>)| AttentionMap {
        head: tile.head,
        row: tile.row,
        weights: sum.into_iter().map(|weight| weight as f32).collect(),
    };
    tiles.into_iter().zip(sums).map(map).collect()
}

/// The latents with the sharpest maps, averaged over the chosen heads.
fn sharpest(maps: AttentionMaps, chosen: &[usize], head: Option<usize>) -> Vec<AttentionMap> {
    let [_, _, _, tokens] = maps.dims();
    let mut best: Vec<(f64, AttentionMap)> = Vec::new();
    for_each_latent(maps, |latent, heads| {
        let mut weights = vec![0.0; tokens];
        for &head in chosen {
            for (sum, weight) in weights.iter_mut().zip(heads[head]) {
                *sum += weight / chosen.len() as f32;
            }
        }
        let sharp = sharpness(&weights);
        let place = best.partition_point(|(other, _)| *other >= sharp);
        if place < MOST {
            best.insert(place, (sharp, AttentionMap { head, row: Some(latent), weights }));
            best.truncate(MOST);
        }
    });
    best.into_iter().map(|(_, map)| map).collect()
}

/// Calls `show` with each latent's maps, one per head.
fn for_each_latent(maps: AttentionMaps, mut show: impl FnMut(usize, &[&[f32]])) {
    let mut first = 0;
    for block in maps {
        let [_, heads, latents, tokens] = block.dims();
        let block = floats(block);
        for latent in 0..latents {
            let map = |head| &block[(head * latents + latent) * tokens..][..tokens];
            let maps: Vec<&[f32]> = (0..heads).map(map).collect();
            show(first + latent, &maps);
        }
        first += latents;
    }
}

fn floats(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec::<f32>().expect("converted to this type")
}

/// 1 if all the weight is on one position, 1 / count if it is uniform.
fn sharpness(weights: &[f32]) -> f64 {
    weights.iter().map(|&weight| f64::from(weight).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sharpness_is_one_over_the_places_shared() {
        assert!((sharpness(&[0.0, 1.0]) - 1.0).abs() < 1e-12);
        assert!((sharpness(&[0.25; 4]) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_decoder_s_shares_are_means_over_heads_and_queries() {
        // Two heads, three queries, two latents; the last query is not about the input.
        let weights = vec![1.0, 0.0, 0.5, 0.5, 9.0, 9.0, 0.0, 1.0, 0.5, 0.5, 9.0, 9.0];
        let decoder = Decoder { weights, heads: 2, all: 3, queries: 2, chosen: vec![0, 1] };
        assert_eq!(decoder.shares(&[0], &[0]), [1.0, 0.0]);
        assert_eq!(decoder.shares(&[0, 1], &[0]), [0.5, 0.5]);
        assert_eq!(decoder.shares(&[0], &[0, 1]), [0.75, 0.25]);
    }

    #[test]
    fn an_index_beyond_the_last_is_named() {
        let error = choose("head", Some(8), 8, vec![]).map_err(|error| error.to_string());
        assert_eq!(error, Err("there is no head 8, expected 0 to 7".to_owned()));
    }
}
