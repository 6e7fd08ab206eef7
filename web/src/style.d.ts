// What the bundler makes of a style sheet.
declare module "*.css";
