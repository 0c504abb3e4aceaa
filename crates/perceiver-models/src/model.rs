use std::fmt::Debug;

use burn::module::Module;
use burn::tensor::{Device, Tensor, assert_shape};
use perceiver_core::{AttentionMaps, Encoder, EncoderOutput, KeyMask, Latents, OutputOptions};
use perceiver_io::{Decoded, Decoder, Postprocessor, Preprocessed, Preprocessor};

use crate::architecture;
use crate::config::PerceiverConfig;

/// The Perceiver: preprocessor, latents and encoder, decoder, postprocessor.
///
/// Each part is a type; [`NoPreprocessor`], [`NoDecoder`] and [`NoPostprocessor`] leave one out.
///
/// # Source
/// Perceiver IO section 3; `PerceiverModel`.
#[derive(Module, Debug)]
pub struct PerceiverModel<
    P: Module = NoPreprocessor,
    D: Module = NoDecoder,
    O: Module = NoPostprocessor,
> {
    input_preprocessor: P,
    embeddings: Latents,
    encoder: Encoder,
    decoder: D,
    output_postprocessor: O,
}

/// Takes tokens as they are: `[batch, tokens, d_model]`.
#[derive(Module, Debug)]
pub struct NoPreprocessor {
    channels: usize,
}

/// Leaves the latents as the result.
#[derive(Module, Debug, Default)]
pub struct NoDecoder;

/// Leaves the decoder's answers as they are.
#[derive(Module, Debug, Default)]
pub struct NoPostprocessor;

/// What a [`PerceiverModel`] returns.
///
/// # Source
/// `PerceiverModelOutput`.
#[derive(Debug, Clone)]
pub struct PerceiverModelOutput<T> {
    /// The decoder's, or postprocessor's, answers.
    pub logits: T,
    /// `[batch, latents, latent_channels]`.
    pub last_hidden_state: Tensor<3>,
    /// The latents before every self-attention layer, and once more after every block.
    pub hidden_states: Option<Vec<Tensor<3>>>,
    /// Probabilities of every self-attention, `[batch, heads, latents, latents]`.
    pub attentions: Option<Vec<Tensor<4>>>,
    /// Probabilities of the encoder's cross-attention, then of the decoder's.
    pub cross_attentions: Option<Vec<Tensor<4>>>,
}

/// Where a model looks.
#[derive(Debug, Clone)]
pub struct CrossAttentionMaps {
    /// Where the latents look in the input, `[batch, heads, latents, tokens]` in all.
    pub encoder: AttentionMaps,
    /// Where the answers look in the latents, `[batch, heads, queries, latents]`, when asked for.
    pub decoder: Option<Tensor<4>>,
}

/// An input that was read into latents, to be decoded once or often.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The input's tokens.
    pub inputs: Preprocessed,
    /// The encoder's result.
    pub encoder: EncoderOutput,
}

impl<P: Preprocessor, D: Module, O: Module> PerceiverModel<P, D, O> {
    /// A fresh latent array and encoder around the given parts.
    ///
    /// # Panics
    /// If `config` does not pass [`PerceiverConfig::validate`].
    #[must_use]
    pub fn new(
        config: &PerceiverConfig,
        input_preprocessor: P,
        decoder: D,
        output_postprocessor: O,
        device: &Device,
    ) -> Self {
        if let Err(error) = config.validate() {
            panic!("{error}");
        }
        let init = architecture::initialisation(config);
        let encoder = architecture::encoder(config, input_preprocessor.channels());
        Self {
            input_preprocessor,
            embeddings: Latents::new(config.num_latents, config.d_latents, init, device),
            encoder: Encoder::new(&encoder, init, device),
            decoder,
            output_postprocessor,
        }
    }

    /// The input preprocessor.
    #[must_use]
    pub const fn input_preprocessor(&self) -> &P {
        &self.input_preprocessor
    }

    /// The decoder.
    #[must_use]
    pub const fn decoder(&self) -> &D {
        &self.decoder
    }

    /// The output postprocessor.
    #[must_use]
    pub const fn output_postprocessor(&self) -> &O {
        &self.output_postprocessor
    }

    /// Reads an input into latents.
    ///
    /// # Shapes
    /// - `mask`: `[batch, tokens]`
    ///
    /// # Panics
    /// If the preprocessor does, or the mask has another shape than the tokens.
    #[must_use]
    pub fn encode(
        &self,
        input: P::Input,
        mask: Option<&KeyMask>,
        options: OutputOptions,
    ) -> Encoded {
        let inputs = self.input_preprocessor.forward(input);
        let [batch, ..] = inputs.dims();
        let latents = self.embeddings.forward(batch);
        let encoder = self.encoder.forward(&latents, &inputs.tokens, mask, options);
        Encoded { inputs, encoder }
    }
}

impl<P, D, O> PerceiverModel<P, D, O>
where
    P: Preprocessor,
    D: Decoder,
    O: Postprocessor<D::Output>,
{
    /// Asks the latents of an encoded input.
    #[must_use]
    pub fn decode(
        &self,
        encoded: &Encoded,
        points: &D::Points,
        attentions: bool,
    ) -> Decoded<O::Output> {
        let queries = self.decoder.queries(&encoded.inputs, points);
        let latents = encoded.encoder.last_hidden_state.clone();
        let decoded = self.decoder.forward(&queries, latents, attentions);
        let sizes = self.decoder.sizes(&queries);
        Decoded {
            logits: self.output_postprocessor.forward(decoded.logits, &sizes),
            cross_attentions: decoded.cross_attentions,
        }
    }

    /// Where the model looks in an input, with the encoder's maps in bounded memory.
    ///
    /// The maps are those of [`forward`](Self::forward), which holds all of them at once.
    ///
    /// # Shapes
    /// - `mask`: `[batch, tokens]`
    ///
    /// # Panics
    /// If the preprocessor does, or the mask has another shape than the tokens.
    #[must_use]
    pub fn cross_attention_maps(
        &self,
        input: P::Input,
        mask: Option<&KeyMask>,
        points: &D::Points,
        decoder: bool,
    ) -> CrossAttentionMaps {
        let inputs = self.input_preprocessor.forward(input);
        let [batch, ..] = inputs.dims();
        let latents = self.embeddings.forward(batch);
        let decoder = decoder.then(|| {
            let options = OutputOptions::default();
            let encoder = self.encoder.forward(&latents, &inputs.tokens, mask, options);
            let queries = self.decoder.queries(&inputs, points);
            self.decoder.forward(&queries, encoder.last_hidden_state, true).cross_attentions
        });
        let encoder = self.encoder.maps(&latents, &inputs.tokens, mask);
        CrossAttentionMaps { encoder, decoder: decoder.flatten() }
    }

    /// Encodes an input and decodes it.
    ///
    /// # Shapes
    /// - `mask`: `[batch, tokens]`
    ///
    /// # Panics
    /// If the preprocessor does, or the mask has another shape than the tokens.
    #[must_use]
    pub fn forward(
        &self,
        input: P::Input,
        mask: Option<&KeyMask>,
        points: &D::Points,
        options: OutputOptions,
    ) -> PerceiverModelOutput<O::Output> {
        let encoded = self.encode(input, mask, options);
        let decoded = self.decode(&encoded, points, options.attentions);
        PerceiverModelOutput::new(encoded.encoder, decoded)
    }
}

impl<T> PerceiverModelOutput<T> {
    pub(crate) fn new(encoder: EncoderOutput, decoded: Decoded<T>) -> Self {
        let mut cross_attentions = encoder.cross_attentions;
        if let Some(maps) = &mut cross_attentions {
            maps.extend(decoded.cross_attentions);
        }
        Self {
            logits: decoded.logits,
            last_hidden_state: encoder.last_hidden_state,
            hidden_states: encoder.hidden_states,
            attentions: encoder.attentions,
            cross_attentions,
        }
    }
}

impl NoPreprocessor {
    /// For tokens of `channels` channels, `d_model` in the configuration.
    #[must_use]
    pub const fn new(channels: usize) -> Self {
        Self { channels }
    }
}

impl Preprocessor for NoPreprocessor {
    /// `[batch, tokens, d_model]`.
    type Input = Tensor<3>;

    fn channels(&self) -> usize {
        self.channels
    }

    /// # Panics
    /// If the tokens have other channels than `d_model`.
    fn forward(&self, tokens: Tensor<3>) -> Preprocessed {
        assert_shape!(tokens, [_, _, self.channels]);
        Preprocessed::from_content(tokens)
    }
}

impl Decoder for NoDecoder {
    type Points = ();
    type Queries = ();
    type Output = ();

    fn queries(&self, _: &Preprocessed, (): &()) {}

    fn sizes(&self, (): &()) -> Vec<usize> {
        Vec::new()
    }

    fn forward(&self, (): &(), _: Tensor<3>, _: bool) -> Decoded<()> {
        Decoded { logits: (), cross_attentions: None }
    }
}

impl<T> Postprocessor<T> for NoPostprocessor {
    type Output = T;

    fn forward(&self, answers: T, _: &[usize]) -> T {
        answers
    }
}
