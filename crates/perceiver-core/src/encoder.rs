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
    /// Number of blocks. All blocks share their weights.
    pub blocks: usize,
}

/// Reads a token array into latents and lets them attend to each other.
///
/// # Source
/// Perceiver IO section 3.1; `PerceiverEncoder`.
#[derive(Module, Debug)]
pub struct Encoder {
    cross_attention: CrossAttentionLayer,
    self_attends: Vec<SelfAttentionLayer>,
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
    /// Probabilities of the cross-attention, `[batch, heads, latents, tokens]`.
    pub cross_attentions: Option<Vec<Tensor<4>>>,
}

impl Encoder {
    /// Fresh parameters.
    #[must_use]
    pub fn new(config: &EncoderConfig, init: Initialisation, device: &Device) -> Self {
        Self {
            cross_attention: CrossAttentionLayer::new(&config.cross_attention, init, device),
            self_attends: (0..config.layers_per_block)
                .map(|_| SelfAttentionLayer::new(&config.self_attention, init, device))
                .collect(),
            blocks: config.blocks,
        }
    }

    /// The attention probabilities of the latents over the tokens.
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
        for _ in 0..self.blocks {
            for layer in &self.self_attends {
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
        EncoderOutput {
            last_hidden_state: hidden,
            hidden_states,
            attentions,
            cross_attentions: cross_map.map(|map| vec![map]),
        }
    }
}
