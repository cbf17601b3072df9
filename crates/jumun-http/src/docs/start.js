const ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null, // it is a server elsewhere
  onComplete: () => {
    document.title = ui.specSelectors.info().get("title");
  },
});
