use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::{
    AttentionMaps, CrossAttentionLayer, Initialisation, KeyMask, LayerConfig, OutputOptions,
    SelfAttentionLayer, TokenArray,
};

/// Sizes of an [`Encoder`].
#[derive(Debug, Clone)]
pub struct EncoderConfig {
    /// The layer through which the latents read the tokens.
    pub cross_attention: LayerConfig,
    /// Each of the layers in which the latents attend to each other.
    pub self_attention: LayerConfig,
    /// Self-attention layers per block.
    pub layers_per_block: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// The number of cross-attentions, and the weights that layers share.
    pub repeats: Repeats,
}

/// The repetition of an [`Encoder`]'s cross-attention and block.
///
/// The latents read the tokens before each of the first `cross_attentions` blocks. All cross-attentions
/// after the first share one set of weights, and so do all blocks after the first.
///
/// # Source
/// Perceiver section 3.1 ("iterative attention"); the options of the same names in krasserm's
/// perceiver-io. The default is Perceiver IO's encoder: one cross-attention, blocks with the same
/// weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeats {
    /// Number of cross-attentions, at least one and at most one per block.
    pub cross_attentions: usize,
    /// If true, the first cross-attention has the weights of the others.
    pub first_cross_attention_shared: bool,
    /// If true, the first block has the weights of the others.
    pub first_block_shared: bool,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { cross_attentions: 1, first_cross_attention_shared: false, first_block_shared: true }
    }
}

/// Reads a token array into latents and lets them attend to each other.
///
/// # Source
/// Perceiver IO section 3.1; `PerceiverEncoder`. With several cross-attentions, Perceiver section 3.1.
#[derive(Module, Debug)]
pub struct Encoder {
    cross_attention: CrossAttentionLayer,
    self_attends: Vec<SelfAttentionLayer>,
    /// The cross-attentions after the first, if they have weights of their own.
    repeated_cross_attention: Option<CrossAttentionLayer>,
    /// The blocks after the first, if they have weights of their own.
    repeated_self_attends: Option<Vec<SelfAttentionLayer>>,
    cross_attentions: usize,
    blocks: usize,
}

/// The result of an [`Encoder`].
///
/// # Source
/// `BaseModelOutputWithCrossAttentions`.
#[doc(alias = "BaseModelOutputWithCrossAttentions")]
#[derive(Debug, Clone)]
pub struct EncoderOutput {
    /// `[batch, latents, latent_channels]`.
    pub last_hidden_state: Tensor<3>,
    /// The latents before every self-attention layer and after every block.
    pub hidden_states: Option<Vec<Tensor<3>>>,
    /// Probabilities of every self-attention, `[batch, heads, latents, latents]`.
    pub attentions: Option<Vec<Tensor<4>>>,
    /// Probabilities of every cross-attention, `[batch, heads, latents, tokens]`.
    pub cross_attentions: Option<Vec<Tensor<4>>>,
}

impl Encoder {
    /// Fresh parameters.
    ///
    /// # Panics
    /// If there are no cross-attentions, or several and fewer blocks.
    #[must_use]
    pub fn new(config: &EncoderConfig, init: Initialisation, device: &Device) -> Self {
        let (blocks, repeats) = (config.blocks, config.repeats);
        let count = repeats.cross_attentions;
        assert!(
            (1..=blocks.max(1)).contains(&count),
            "the encoder has {count} cross-attentions, expected 1 to its {blocks} blocks"
        );
        let cross_attention = || CrossAttentionLayer::new(&config.cross_attention, init, device);
        let block = || {
            let layers = 0..config.layers_per_block;
            layers.map(|_| SelfAttentionLayer::new(&config.self_attention, init, device)).collect()
        };
        Self {
            cross_attention: cross_attention(),
            self_attends: block(),
            repeated_cross_attention: (count > 1 && !repeats.first_cross_attention_shared)
                .then(cross_attention),
            repeated_self_attends: (blocks > 1 && !repeats.first_block_shared).then(block),
            cross_attentions: count,
            blocks,
        }
    }

    /// The attention probabilities of the latents over the tokens, in the first cross-attention.
    ///
    /// # Shapes
    /// - `latents`: `[batch, latents, latent_channels]`
    /// - `tokens`: `[batch, tokens, token_channels]`
    /// - `mask`: `[batch, tokens]`
    #[must_use]
    pub fn maps(
        &self,
        latents: &TokenArray,
        tokens: &TokenArray,
        mask: Option<&KeyMask>,
    ) -> AttentionMaps {
        self.cross_attention.attention().maps(latents, tokens, mask)
    }

    /// Reads the tokens into the latents.
    ///
    /// # Shapes
    /// - `latents`: `[batch, latents, latent_channels]`
    /// - `tokens`: `[batch, tokens, token_channels]`
    /// - `mask`: `[batch, tokens]`
    #[must_use]
    pub fn forward(
        &self,
        latents: &TokenArray,
        tokens: &TokenArray,
        mask: Option<&KeyMask>,
        options: OutputOptions,
    ) -> EncoderOutput {
        let (mut hidden, cross_map) =
            self.cross_attention.forward(latents, tokens, mask, options.attentions);
        let mut hidden_states = options.hidden_states.then(Vec::new);
        let mut attentions = options.attentions.then(Vec::new);
        let mut cross_attentions = cross_map.map(|map| vec![map]);
        let repeated_cross = self.repeated_cross_attention.as_ref();
        let repeated_block = self.repeated_self_attends.as_ref();
        for block in 0..self.blocks {
            if (1..self.cross_attentions).contains(&block) {
                let layer = repeated_cross.unwrap_or(&self.cross_attention);
                let latents = TokenArray::dense(hidden);
                let (next, map) = layer.forward(&latents, tokens, mask, options.attentions);
                hidden = next;
                if let (Some(maps), Some(map)) = (&mut cross_attentions, map) {
                    maps.push(map);
                }
            }
            let layers = repeated_block.filter(|_| block > 0).unwrap_or(&self.self_attends);
            for layer in layers {
                if let Some(states) = &mut hidden_states {
                    states.push(hidden.clone());
                }
                let (next, map) = layer.forward(hidden, options.attentions);
                hidden = next;
                if let (Some(maps), Some(map)) = (&mut attentions, map) {
                    maps.push(map);
                }
            }
            if let Some(states) = &mut hidden_states {
                states.push(hidden.clone());
            }
        }
        EncoderOutput { last_hidden_state: hidden, hidden_states, attentions, cross_attentions }
    }
}
