"use strict";

const place = document.getElementById("swagger-ui");

SwaggerUIBundle({
  url: place.dataset.schemaUrl,
  domNode: place,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  displayOperationId: false,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  // Tokens stay in the memory of the page: nothing is left behind when it closes.
  persistAuthorization: false,
  // The validator of swagger.io would be a call to somebody else.
  validatorUrl: null,
});
