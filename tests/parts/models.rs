//! Models assembled from parts.

use burn::tensor::Device;
use perceiver_models::{
    Decoder, Initialisation, KeyMask, NamedTensors, NoDecoder, NoPostprocessor, NoPreprocessor,
    OutputPoints, PerceiverModel, Postprocessor, Preprocessor, Request,
};

use crate::case::Case;
use crate::output::Output;
use crate::{decoders, postprocessors, preprocessors};

pub(crate) fn run(case: &Case, attentions: bool, device: &Device) -> Result<NamedTensors, String> {
    let mut arguments = case.arguments();
    let mut preprocessor = arguments.part("input_preprocessor");
    let mut decoder = arguments.part("decoder");
    let mut postprocessor = arguments.part("output_postprocessor");
    let (config, init) = (&case.config, Initialisation::default());
    let bare = NoPreprocessor::new(config.d_model);
    let call = Call { case, attentions, device };
    match (&mut preprocessor, &mut decoder, &mut postprocessor) {
        (Some((pre, _)), Some((of, decoder)), None) if pre == "PerceiverTextPreprocessor" => {
            assert_eq!(of, "PerceiverClassificationDecoder");
            let text = preprocessors::text(config, device);
            let decoder = decoders::classification(decoder, config, device);
            call.run(text, decoder, NoPostprocessor, case.ids("inputs", device), ())
        }
        (Some((pre, image)), None, None) if pre == "PerceiverImagePreprocessor" => {
            let image = preprocessors::image(image).init(init, device);
            let input = preprocessors::image_input(case, device);
            call.run(image, NoDecoder, NoPostprocessor, input, ())
        }
        (None, Some((of, decoder)), Some((post, projection))) if of == "PerceiverBasicDecoder" => {
            assert_eq!(post, "PerceiverProjectionPostprocessor");
            let decoder = decoders::basic(decoder, config, &[]).init(init, device);
            let projection = postprocessors::projection(projection, device);
            call.run(bare, decoder, projection, case.input("inputs", device), None)
        }
        (None, Some((of, _)), None) if of == "PerceiverProjectionDecoder" => {
            let decoder = decoders::projection(config, device);
            call.run(bare, decoder, NoPostprocessor, case.input("inputs", device), ())
        }
        (Some((pre, preprocessor)), Some((of, decoder)), Some((post, postprocessor))) => {
            assert_eq!(pre, "PerceiverMultimodalPreprocessor");
            assert_eq!(of, "PerceiverMultimodalDecoder");
            assert_eq!(post, "PerceiverMultimodalPostprocessor");
            let preprocessor = preprocessors::multimodal(preprocessor, config, device);
            let decoder = decoders::multimodal(decoder, config, device);
            let postprocessor = postprocessors::multimodal(postprocessor, config, device);
            let input = preprocessors::multimodal_input(case, device);
            call.run(preprocessor, decoder, postprocessor, input, OutputPoints::default())
        }
        _ => Err("unknown combination of parts".into()),
    }
}

struct Call<'a> {
    case: &'a Case,
    attentions: bool,
    device: &'a Device,
}

impl Call<'_> {
    fn run<P, D, O>(
        &self,
        preprocessor: P,
        decoder: D,
        postprocessor: O,
        input: P::Input,
        points: D::Points,
    ) -> Result<NamedTensors, String>
    where
        P: Preprocessor,
        D: Decoder,
        O: Postprocessor<D::Output, Output: Output>,
    {
        let config = &self.case.config;
        let model = PerceiverModel::new(config, preprocessor, decoder, postprocessor, self.device);
        let model = self.case.load(model)?;
        let mask =
            self.case.inputs.contains_key("attention_mask").then(|| {
                KeyMask::from_attention_mask(self.case.ids("attention_mask", self.device))
            });
        let mut request = Request::new(input).mask(mask).points(points).hidden_states();
        request.outputs.attentions = self.attentions;
        let output = model.forward(request);
        let mut found = NamedTensors::new();
        output.logits.insert("logits", &mut found);
        output.last_hidden_state.insert("last_hidden_state", &mut found);
        for (i, state) in output.hidden_states.into_iter().flatten().enumerate() {
            state.insert(&format!("hidden_states.{i}"), &mut found);
        }
        for (i, maps) in output.attentions.into_iter().flatten().enumerate() {
            maps.insert(&format!("attentions.{i}"), &mut found);
        }
        for (i, maps) in output.cross_attentions.into_iter().flatten().enumerate() {
            maps.insert(&format!("cross_attentions.{i}"), &mut found);
        }
        Ok(found)
    }
}
